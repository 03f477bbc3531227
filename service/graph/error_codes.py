"""Meta's error codes in one table: what each means, what a person can do, and what the gateway does
by itself.

Section 7 of the fact sheet. `python -m service.graph.error_docs > docs/errors.md` writes the page.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """What is known of an error.

    `klass`: a key of CLASSES; `delay`: seconds; `scope`: a key of SCOPES.
    """

    klass: str
    sentence: str
    fix: str
    delay: int | None = None
    scope: str | None = None


CLASSES = {
    'T': 'passing: it is tried again by itself after 2, 4 and 8 seconds, or later when Meta asks for it; then it fails',
    'W': 'waits: it is sent again after the time given, or when Meta reports that the cause is gone',
    'P': 'final for this message: it is not tried again',
    'C': 'nothing can be sent until somebody acts: the account is held, its messages wait for a new token or a resume',
    'A': 'nobody knows whether it was sent: Meta may still report it, so it is not repeated at once',
}
SCOPES = {
    'pair': 'messages to this recipient', 'number': 'this phone number', 'app': 'the whole app',
    'waba': 'the WhatsApp Business account', 'template': 'messages with this template', 'bulk': 'bulk sending',
}  # fmt: skip

LOST = 'If Meta reports it, it was sent; else on_unknown of the account decides. Sent by hand, it may arrive twice.'
AGAIN = 'It is tried again by itself. If that fails too, send it again later.'
WAIT = 'Nothing to do: it is sent again by itself after the wait.'
NOT_OURS = 'This is no answer to a message: look at what else uses this token, and ask Meta with the fbtrace_id.'
SIGN_IN = 'Make a new access token in Meta Business Settings and save it to this account.'

Key = int | tuple[int, ...] | range
# A key is a code, several of them, or a range.
TABLE: dict[Key, Known] = {
    # Sign-in, permissions, the state of the account
    0: Known('C', 'Meta could not sign this account in: its access token is wrong, expired or withdrawn.', SIGN_IN),
    3: Known('C', 'The Meta app lacks the capability to send messages.',
             'Give the app the WhatsApp product and whatsapp_business_messaging, then resume the account.'),
    10: Known('C', 'The permission to send for this account was never given or has been taken away.',
              "Give the token's system user whatsapp_business_messaging and this account, then resume it."),
    33: Known('C', 'The phone number that should send has been deleted at Meta.',
              'Save the account with a phone_number_id that exists, then resume it.'),
    104: Known('C', 'Meta received no access token that it could use.', SIGN_IN),
    190: Known('C', 'The access token has expired or was withdrawn.', SIGN_IN),
    range(200, 300): Known('C', 'The access token lacks a permission, or does not reach this phone number.',
                           'Give its system user the permission and the WhatsApp account, then resume the account.'),
    368: Known('C', 'Meta has blocked this account for a time because its policy was broken.',
               'Read the notice in Meta Business Support, appeal or wait, then resume the account.'),
    131005: Known('C', 'Meta denied access: the token lacks a permission for this account.',
                  "Give the token's system user the permission and the account, then resume the account."),
    131031: Known('C', 'Meta has locked the WhatsApp Business account.',
                  'Read the reason in WhatsApp Manager, ask for a review, then resume the account.'),
    131037: Known('C', 'The display name of the phone number is not approved yet.',
                  'Have the name approved in WhatsApp Manager, then resume the account.'),
    131042: Known('C', 'Meta does not send because something is wrong with how the account pays.',
                  'Put the payment method in order in the Billing Hub of Meta, then resume the account.'),
    131044: Known('C', 'Meta refuses because something is wrong with how the account pays for calls.',
                  'Put the payment method in order in the Billing Hub of Meta, then resume the account.'),
    131045: Known('C', 'The phone number is not properly registered: its certificate is wrong.',
                  'Register the phone number again, then resume the account.'),
    131063: Known('C', 'Marketing templates are switched off on the Cloud API for this account.',
                  'Switch them on in WhatsApp Manager, then resume the account.'),
    134011: Known('C', 'The terms of WhatsApp payments have not been accepted.',
                  'Accept them in WhatsApp Manager, then resume the account.'),

    # Too much, too fast
    4: Known('T', 'The Meta app makes more calls than it may.',
             'The whole app is slowed down by itself. If it comes often, spread the sending out.', scope='app'),
    (17, 32, 613): Known('T', "Meta's general limit of calls is reached.", AGAIN),
    80007: Known('T', 'The WhatsApp Business account has reached its limit of calls.',
                 'It is slowed down by itself. If it comes often, spread the sending out.', scope='waba'),
    80008: Known('T', 'The WhatsApp Business account has reached its limit of management calls.',
                 'It is slowed down by itself. If it comes often, ask for templates and settings less.', scope='waba'),
    130429: Known('T', 'The phone number sends faster than Meta allows it.',
                  'It is slowed down by itself. If it comes often, lower max_mps of the account.', scope='number'),
    131048: Known('C', 'Meta limits this phone number because people blocked it or reported its messages as spam.',
                  'Stop the bulk, see the quality in WhatsApp Manager, resume once it recovers.', scope='bulk'),
    131049: Known('W', 'Meta held this marketing message back: this person gets enough marketing already.',
                  'Nothing to do: it is sent again after a day; sooner only makes it worse.', delay=86400),
    131056: Known('T', 'Too many messages went to this one person in a short time.',
                  'It waits and is tried again; other people are not affected. Send this person less.', scope='pair'),
    131064: Known('W', "Meta's limit for templates of this classification is reached.",
                  "It is sent again after the wait. Check the template's category at Meta.", delay=3600),
    132069: Known('W', 'Meta has slowed this Flow down to 10 messages an hour.',
                  'It is sent again after the wait. Repair the Flow in WhatsApp Manager.', delay=3600),

    # Meta's own trouble
    1: Known('T', 'Meta did not understand the call, or has a fault.',
             "It is tried again by itself. If it fails too, compare the message with Meta's description of its type."),
    2: Known('T', "Meta's service is down or overloaded for a moment.", AGAIN),
    131000: Known('T', 'Meta failed to send this and does not say why.', AGAIN),
    131016: Known('T', "Meta's service is not available at the moment.", AGAIN),
    131057: Known('W', 'The account is under maintenance for about a minute, mostly to be given more throughput.', WAIT,
                  delay=60),
    133004: Known('T', "Meta's server is not available for the moment.", AGAIN),
    135000: Known('T', 'Meta refused the message without a reason, often because a part of it is malformed.',
                  'It is tried again by itself. If it fails too, check the parameters of the message.'),
    2494100: Known('T', 'The phone number is under maintenance for a moment.', AGAIN),

    # This message, this recipient
    100: Known('P', 'A field of the message is unknown, misspelled, or has a value that Meta does not take.',
               'Correct the field that details names and send again.'),
    130403: Known('P', 'Your business has blocked this person on WhatsApp.',
                  'Unblock the person in WhatsApp Manager if you want to write again.'),
    130472: Known('P', 'Meta keeps marketing from this person for an experiment of its own.',
                  'Do not repeat it. Reach the person in another way.'),
    130497: Known('P', 'This account may not write to people in that country.',
                  "Do not send there. See the countries in WhatsApp's business messaging policy."),
    131008: Known('P', 'A required field of the message is missing.', 'Add the field that details names.'),
    131009: Known('P', 'A field of the message has a value that Meta does not take.',
                  'Correct the value that details names and send again.'),
    131021: Known('P', 'The recipient is the sending number itself.', 'Send to another number.'),
    131026: Known('P', 'It cannot be delivered: no WhatsApp there, an old app, terms not accepted, or a block.',
                  'Check the number, ask the person to update WhatsApp, or reach them in another way.'),
    131030: Known('P', 'The sender is a test number, and the recipient is not on its list of at most five.',
                  'Add the recipient to the list in the App Dashboard, or send from a real number.'),
    131047: Known('P', 'The customer last wrote more than 24 hours ago, so only a template may be sent.',
                  'Send a template. If the customer did write since, it is a rare fault of Meta: send it again.'),
    131050: Known('P', 'This person does not want marketing from you any more.',
                  'Send no marketing until the person allows it again.'),
    131051: Known('P', 'WhatsApp does not hand on messages of this type.', 'Send, or ask for, another type.'),
    131052: Known('P', 'The file from the customer could not be downloaded.', 'Ask the customer to send it again.'),
    131053: Known('P', 'The file of this message could not be uploaded to WhatsApp.',
                  'Check its type, its size, and that its link can be opened by anybody.'),
    131055: Known('P', 'Meta does not allow this operation here.', 'Check the type of message and the phone number.'),
    131059: Known('P', 'The cursor for the next page is not valid (any more).', 'Start again with the first page.'),
    131060: Known('P', 'The content of this message from the customer is not available.',
                  'Ask the customer to send it again.'),
    131062: Known('P', 'This kind of message needs a phone number; a business-scoped user id is not enough.',
                  "Send it to the person's phone number."),
    137000: Known('P', 'The person has a new phone or installed WhatsApp anew: the identity is not the expected one.',
                  'Make sure who it is, then send without the old identity or with the new one.'),

    # Templates and Flows
    132000: Known('P', 'The number of parameters differs from what the template has.',
                  'Give exactly one value for each variable of the template.'),
    132001: Known('P', 'The template does not exist in this language, or is not approved.',
                  'Check its name and language code. Just approved? Send again in some minutes.'),
    132005: Known('P', 'With its parameters filled in, the template is too long.', 'Shorten the parameters.'),
    132007: Known('P', 'The text of the template breaks a rule of WhatsApp.', 'Change the text or the parameters.'),
    (132008, 132012, 132018): Known('P', 'A parameter does not have the form that the template asks for.',
                                    'Compare the parameters with the template, as details says, and send again.'),
    132015: Known('W', 'Meta has paused this template because people disliked it.',
                  'It is sent once Meta unpauses it. Improve the template, or send another.', scope='template'),
    132016: Known('P', 'Meta has disabled this template for good: its quality was too low, too often.',
                  'Make a new template and send that.'),
    132068: Known('C', 'Meta has blocked the Flow of this message.',
                  'Repair the Flow in WhatsApp Manager, then resume the account.'),
    134100: Known('P', 'Only marketing templates may be sent by the marketing messages API.',
                  'Send it as an ordinary message, or use a marketing template.'),
    134101: Known('W', 'Meta is still preparing the template; that takes up to ten minutes.', WAIT, delay=600),
    134102: Known('P', 'The template cannot be used with the marketing messages API.', 'Use another template.'),

    # Registration of the number
    133000: Known('T', 'An earlier deregistration of the phone number has not finished.',
                  'It is tried again by itself. If it fails too, deregister the number and register it again.'),
    133005: Known('C', 'The PIN for two-step verification is wrong.',
                  'Use the right PIN or set a new one in WhatsApp Manager, register, then resume the account.'),
    133006: Known('C', 'The phone number must be verified before it can be registered.',
                  'Verify it by SMS or call, register it, then resume the account.'),
    133008: Known('C', 'The PIN was wrong too many times.',
                  'Wait as long as details says, register with the right PIN, then resume the account.'),
    133009: Known('C', 'The PIN was entered again too quickly.',
                  'Wait a little, register with the right PIN, then resume the account.'),
    133010: Known('C', 'The phone number is not registered on the WhatsApp Business Platform.',
                  'Register it with its PIN, then resume the account.'),
    133015: Known('W', 'The phone number was deleted moments ago, and Meta has not finished.', WAIT, delay=300),
    133016: Known('C', 'The phone number was registered or deregistered too often: ten times in 72 hours.',
                  'Wait 72 hours, register it, then resume the account.'),

    # Not for messages to one person, but a status or another call may bring them
    range(131200, 131300): Known('P', 'Meta refused this message to a group.', 'Check the group and its settings.'),
    range(138000, 139000): Known('P', 'The error is about a call, not about a message.', NOT_OURS),
    range(139000, 139104): Known('P', 'The error is about managing Flows or the block list.', NOT_OURS),
    range(147001, 147006): Known('P', 'The error is about the username of the business.', NOT_OURS),
    range(2388000, 2389000): Known('P', 'Meta does not take a template as it is.',
                                   "Read details, which are Meta's words, change the template and create it again."),
}  # fmt: skip

# What went wrong without a code of Meta's
OUR_OWN = {
    'no_answer': Known('A', 'The connection broke before Meta answered, so it may or may not have been sent.', LOST),
    'unreachable': Known('T', 'Meta could not be reached, so nothing was sent.', AGAIN),
    'away': Known('T', 'Ten calls in a row failed or got no answer: Meta is away, so nothing but a probe goes.',
                  'Nothing to do: once a probe succeeds, all that waits is sent. Resuming the account probes at once.'),
    'worker_stopped': Known('A', 'The gateway was stopped while sending, so it may or may not have been sent.', LOST),
    'internal': Known('A', 'The gateway failed in the middle of the call, so it may or may not have been sent.', LOST),
    'not_recorded': Known('P', 'What became of it could not be stored, so it may have been sent.',
                          'Look in the log for the reason. Send it once more only if it did not arrive.'),
    'no_id': Known('A', 'Meta accepted the call but named no message, so it may or may not have been sent.', LOST),
    'http_5xx': Known('A', 'Meta answered with a fault but no reason, so it may or may not have been sent.', LOST),
    'not_fetched': Known('T', 'The file could not be fetched from Meta this time.', AGAIN),
    'storage': Known('T', 'The file could not be kept in MEDIA_URL.', 'Mend the storage; it is tried again by itself.'),
    'opted_out': Known('P', 'The person wants no marketing.', 'Send none until they want it; all else still goes.'),
    'undecryptable': Known('C', 'The access token in the database cannot be read with the present ENCRYPTION_KEYS.',
                           'Give back the key that it was written with, or save the token again.'),
    'template_paused': Known('W', 'Meta has paused or disabled the template, so the message waits.',
                             'It is sent when Meta lets the template go again.', scope='template'),
    'template_rejected': Known('P', 'Meta has rejected the template.', 'Read the reason, and send an approved one.'),
    'template_deleted': Known('P', 'The template was deleted.', 'Use another template.'),
}  # fmt: skip

# Codes that are not in the table, by the HTTP status
UNKNOWN = {
    '429': Known('T', 'Meta says that too much is sent, with a code that is not known here.', AGAIN, scope='number'),
    '5xx': Known('T', 'Meta reports a fault of its own, with a code that is not known here.', AGAIN),
    '401': Known('C', 'Meta does not accept the access token, with a code that is not known here.', SIGN_IN),
    'else': Known('P', 'Meta refused this with a code that is not known here.',
                  "Read title and details, which are Meta's words; ask Meta with the fbtrace_id."),
}  # fmt: skip


def codes(key: Key) -> Iterable[int]:
    return (key,) if isinstance(key, int) else key


BY_CODE: dict[int | float | None, Known] = {
    code: known for key, known in TABLE.items() for code in codes(key)
}


def look_up(code: object, http_status: int = 400) -> Known:
    """What is known of a code, whatever it came as; a key of OUR_OWN is one as well.

    Never raises, always a Known.
    """
    if isinstance(code, str) and code in OUR_OWN:
        return OUR_OWN[code]
    return BY_CODE.get(_number(code)) or _unknown(http_status or 400)


def explain(code: object, http_status: int = 400) -> dict[str, str]:
    """The two sentences for a person, as the fields of an answer."""
    known = look_up(code, http_status)
    return {'explanation': known.sentence, 'fix': known.fix}


def _number(code: object) -> int | float | None:
    if isinstance(code, str):
        return int(code) if re.fullmatch(r'[0-9]{1,9}', code.strip()) else None
    return code if isinstance(code, int | float) and not isinstance(code, bool) else None


def _unknown(http_status: int) -> Known:
    if http_status == 429:
        return UNKNOWN['429']
    return UNKNOWN['5xx' if http_status >= 500 else '401' if http_status == 401 else 'else']
