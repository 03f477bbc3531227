"""Pure: Meta's error codes about one message, its recipient, its template or its Flow."""

from service.graph.error_class import (
    FIX_NOT_OURS,
    FIX_WAIT,
    Key,
    KnownError,
    account,
    deferred,
    permanent,
)

MESSAGE_ERRORS: dict[Key, KnownError] = {
    # This message, this recipient
    100: permanent(
        'A field of the message is unknown, misspelled, or has a value that Meta does not take.',
        'Correct the field that details names and send again.',
    ),
    130403: permanent(
        'Your business has blocked this person on WhatsApp.',
        'Unblock the person in WhatsApp Manager if you want to write again.',
    ),
    130472: permanent(
        'Meta keeps marketing from this person for an experiment of its own.',
        'Do not repeat it. Reach the person in another way.',
    ),
    130497: permanent(
        'This account may not write to people in that country.',
        "Do not send there. See the countries in WhatsApp's business messaging policy.",
    ),
    131008: permanent(
        'A required field of the message is missing.', 'Add the field that details names.'
    ),
    131009: permanent(
        'A field of the message has a value that Meta does not take.',
        'Correct the value that details names and send again.',
    ),
    131021: permanent('The recipient is the sending number itself.', 'Send to another number.'),
    131026: permanent(
        'It cannot be delivered: no WhatsApp there, an old app, terms not accepted, or a block.',
        'Check the number, ask the person to update WhatsApp, or reach them in another way.',
    ),
    131030: permanent(
        'The sender is a test number, and the recipient is not on its list of at most five.',
        'Add the recipient to the list in the App Dashboard, or send from a real number.',
    ),
    131047: permanent(
        'The customer last wrote more than 24 hours ago, so only a template may be sent.',
        'Send a template. If the customer did write since, it is a rare fault of Meta: send it '
        'again.',
    ),
    131050: permanent(
        'This person does not want marketing from you any more.',
        'Send no marketing until the person allows it again.',
    ),
    131051: permanent(
        'WhatsApp does not hand on messages of this type.', 'Send, or ask for, another type.'
    ),
    131052: permanent(
        'The file from the customer could not be downloaded.', 'Ask the customer to send it again.'
    ),
    131053: permanent(
        'The file of this message could not be uploaded to WhatsApp.',
        'Check its type, its size, and that its link can be opened by anybody.',
    ),
    131055: permanent(
        'Meta does not allow this operation here.',
        'Check the type of message and the phone number.',
    ),
    131059: permanent(
        'The cursor for the next page is not valid (any more).', 'Start again with the first page.'
    ),
    131060: permanent(
        'The content of this message from the customer is not available.',
        'Ask the customer to send it again.',
    ),
    131062: permanent(
        'This kind of message needs a phone number; a business-scoped user id is not enough.',
        "Send it to the person's phone number.",
    ),
    137000: permanent(
        'The person has a new phone or installed WhatsApp anew: the identity is not the expected '
        'one.',
        'Make sure who it is, then send without the old identity or with the new one.',
    ),
    # Templates and Flows
    132000: permanent(
        'The number of parameters differs from what the template has.',
        'Give exactly one value for each variable of the template.',
    ),
    132001: permanent(
        'The template does not exist in this language, or is not approved.',
        'Check its name and language code. Just approved? Send again in some minutes.',
    ),
    132005: permanent(
        'With its parameters filled in, the template is too long.', 'Shorten the parameters.'
    ),
    132007: permanent(
        'The text of the template breaks a rule of WhatsApp.', 'Change the text or the parameters.'
    ),
    (132008, 132012, 132018): permanent(
        'A parameter does not have the form that the template asks for.',
        'Compare the parameters with the template, as details says, and send again.',
    ),
    132015: deferred(
        'Meta has paused this template because people disliked it.',
        'It is sent once Meta unpauses it. Improve the template, or send another.',
        scope='template',
    ),
    132016: permanent(
        'Meta has disabled this template for good: its quality was too low, too often.',
        'Make a new template and send that.',
    ),
    132068: account(
        'Meta has blocked the Flow of this message.',
        'Repair the Flow in WhatsApp Manager, then resume the account.',
    ),
    134100: permanent(
        'Only marketing templates may be sent by the marketing messages API.',
        'Send it as an ordinary message, or use a marketing template.',
    ),
    134101: deferred(
        'Meta is still preparing the template; that takes up to ten minutes.', FIX_WAIT, delay=600
    ),
    134102: permanent(
        'The template cannot be used with the marketing messages API.', 'Use another template.'
    ),
    # Not for messages to one person, but a status or another call may bring them
    range(131200, 131300): permanent(
        'Meta refused this message to a group.', 'Check the group and its settings.'
    ),
    range(138000, 139000): permanent(
        'The error is about a call, not about a message.', FIX_NOT_OURS
    ),
    range(139000, 139104): permanent(
        'The error is about managing Flows or the block list.', FIX_NOT_OURS
    ),
    range(147001, 147006): permanent(
        'The error is about the username of the business.', FIX_NOT_OURS
    ),
    range(2388000, 2389000): permanent(
        'Meta does not take a template as it is.',
        "Read details, which are Meta's words, change the template and create it again.",
    ),
}
