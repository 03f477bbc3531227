"""Pure: what went wrong without a code of Meta's, and with a code that is not known here."""

from service.graph.error_class import (
    FIX_LOST,
    FIX_RETRIED,
    FIX_SIGN_IN,
    KnownError,
    account,
    ambiguous,
    deferred,
    permanent,
    transient,
)

# What went wrong without a code of Meta's
OUR_OWN: dict[str, KnownError] = {
    'no_answer': ambiguous(
        'The connection broke before Meta answered, so it may or may not have been sent.', FIX_LOST
    ),
    'unreachable': transient('Meta could not be reached, so nothing was sent.', FIX_RETRIED),
    'away': transient(
        'Ten calls in a row failed or got no answer: Meta is away, so nothing but a probe goes.',
        'Nothing to do: once a probe succeeds, all that waits is sent. Resuming the account '
        'probes at once.',
    ),
    'worker_stopped': ambiguous(
        'The gateway was stopped while sending, so it may or may not have been sent.', FIX_LOST
    ),
    'internal': ambiguous(
        'The gateway failed in the middle of the call, so it may or may not have been sent.',
        FIX_LOST,
    ),
    'not_recorded': permanent(
        'What became of it could not be stored, so it may have been sent.',
        'Look in the log for the reason. Send it once more only if it did not arrive.',
    ),
    'no_id': ambiguous(
        'Meta accepted the call but named no message, so it may or may not have been sent.',
        FIX_LOST,
    ),
    'http_5xx': ambiguous(
        'Meta answered with a fault but no reason, so it may or may not have been sent.', FIX_LOST
    ),
    'not_fetched': transient('The file could not be fetched from Meta this time.', FIX_RETRIED),
    'storage': transient(
        'The file could not be kept in MEDIA_URL.', 'Mend the storage; it is tried again by itself.'
    ),
    'opted_out': permanent(
        'The person wants no marketing.', 'Send none until they want it; all else still goes.'
    ),
    'paused': permanent(
        'A person has taken the conversation over before the reply was sent.',
        'Nothing to do: after the pause the bot answers again.',
    ),
    'undecryptable': account(
        'The access token in the database cannot be read with the present ENCRYPTION_KEYS.',
        'Give back the key that it was written with, or save the token again.',
    ),
    'template_paused': deferred(
        'Meta has paused or disabled the template, so the message waits.',
        'It is sent when Meta lets the template go again.',
        scope='template',
    ),
    'template_rejected': permanent(
        'Meta has rejected the template.', 'Read the reason, and send an approved one.'
    ),
    'template_deleted': permanent('The template was deleted.', 'Use another template.'),
}


# Codes that are not in the table, by the HTTP status
UNKNOWN: dict[str, KnownError] = {
    '429': transient(
        'Meta says that too much is sent, with a code that is not known here.',
        FIX_RETRIED,
        scope='number',
    ),
    '5xx': transient(
        'Meta reports a fault of its own, with a code that is not known here.', FIX_RETRIED
    ),
    '401': account(
        'Meta does not accept the access token, with a code that is not known here.', FIX_SIGN_IN
    ),
    'else': permanent(
        'Meta refused this with a code that is not known here.',
        "Read title and details, which are Meta's words; ask Meta with the fbtrace_id.",
    ),
}
