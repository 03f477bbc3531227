"""Pure: Meta's error codes about the account, its number, limits of speed, and Meta itself."""

from service.graph.error_class import (
    FIX_RETRIED,
    FIX_SIGN_IN,
    FIX_WAIT,
    Key,
    KnownError,
    account,
    deferred,
    transient,
)

ACCOUNT_ERRORS: dict[Key, KnownError] = {
    # Sign-in, permissions, the state of the account
    0: account(
        'Meta could not sign this account in: its access token is wrong, expired or withdrawn.',
        FIX_SIGN_IN,
    ),
    3: account(
        'The Meta app lacks the capability to send messages.',
        'Give the app the WhatsApp product and whatsapp_business_messaging, then resume the '
        'account.',
    ),
    10: account(
        'The permission to send for this account was never given or has been taken away.',
        "Give the token's system user whatsapp_business_messaging and this account, then resume "
        'it.',
    ),
    33: account(
        'The phone number that should send has been deleted at Meta.',
        'Save the account with a phone_number_id that exists, then resume it.',
    ),
    104: account('Meta received no access token that it could use.', FIX_SIGN_IN),
    190: account('The access token has expired or was withdrawn.', FIX_SIGN_IN),
    range(200, 300): account(
        'The access token lacks a permission, or does not reach this phone number.',
        'Give its system user the permission and the WhatsApp account, then resume the account.',
    ),
    368: account(
        'Meta has blocked this account for a time because its policy was broken.',
        'Read the notice in Meta Business Support, appeal or wait, then resume the account.',
    ),
    131005: account(
        'Meta denied access: the token lacks a permission for this account.',
        "Give the token's system user the permission and the account, then resume the account.",
    ),
    131031: account(
        'Meta has locked the WhatsApp Business account.',
        'Read the reason in WhatsApp Manager, ask for a review, then resume the account.',
    ),
    131037: account(
        'The display name of the phone number is not approved yet.',
        'Have the name approved in WhatsApp Manager, then resume the account.',
    ),
    131042: account(
        'Meta does not send because something is wrong with how the account pays.',
        'Put the payment method in order in the Billing Hub of Meta, then resume the account.',
    ),
    131044: account(
        'Meta refuses because something is wrong with how the account pays for calls.',
        'Put the payment method in order in the Billing Hub of Meta, then resume the account.',
    ),
    131045: account(
        'The phone number is not properly registered: its certificate is wrong.',
        'Register the phone number again, then resume the account.',
    ),
    131063: account(
        'Marketing templates are switched off on the Cloud API for this account.',
        'Switch them on in WhatsApp Manager, then resume the account.',
    ),
    134011: account(
        'The terms of WhatsApp payments have not been accepted.',
        'Accept them in WhatsApp Manager, then resume the account.',
    ),
    # Too much, too fast
    4: transient(
        'The Meta app makes more calls than it may.',
        'The whole app is slowed down by itself. If it comes often, spread the sending out.',
        scope='app',
    ),
    (17, 32, 613): transient("Meta's general limit of calls is reached.", FIX_RETRIED),
    80007: transient(
        'The WhatsApp Business account has reached its limit of calls.',
        'It is slowed down by itself. If it comes often, spread the sending out.',
        scope='waba',
    ),
    80008: transient(
        'The WhatsApp Business account has reached its limit of management calls.',
        'It is slowed down by itself. If it comes often, ask for templates and settings less.',
        scope='waba',
    ),
    130429: transient(
        'The phone number sends faster than Meta allows it.',
        'It is slowed down by itself. If it comes often, lower max_mps of the account.',
        scope='number',
    ),
    131048: account(
        'Meta limits this phone number because people blocked it or reported its messages as spam.',
        'Stop the bulk, see the quality in WhatsApp Manager, resume once it recovers.',
        scope='bulk',
    ),
    131049: deferred(
        'Meta held this marketing message back: this person gets enough marketing already.',
        'Nothing to do: it is sent again after a day; sooner only makes it worse.',
        delay=86400,
    ),
    131056: transient(
        'Too many messages went to this one person in a short time.',
        'It waits and is tried again; other people are not affected. Send this person less.',
        scope='pair',
    ),
    131064: deferred(
        "Meta's limit for templates of this classification is reached.",
        "It is sent again after the wait. Check the template's category at Meta.",
        delay=3600,
    ),
    132069: deferred(
        'Meta has slowed this Flow down to 10 messages an hour.',
        'It is sent again after the wait. Repair the Flow in WhatsApp Manager.',
        delay=3600,
    ),
    # Meta's own trouble
    1: transient(
        'Meta did not understand the call, or has a fault.',
        "It is tried again by itself. If it fails too, compare the message with Meta's "
        'description of its type.',
    ),
    2: transient("Meta's service is down or overloaded for a moment.", FIX_RETRIED),
    131000: transient('Meta failed to send this and does not say why.', FIX_RETRIED),
    131016: transient("Meta's service is not available at the moment.", FIX_RETRIED),
    131057: deferred(
        'The account is under maintenance for about a minute, mostly to be given more throughput.',
        FIX_WAIT,
        delay=60,
    ),
    133004: transient("Meta's server is not available for the moment.", FIX_RETRIED),
    135000: transient(
        'Meta refused the message without a reason, often because a part of it is malformed.',
        'It is tried again by itself. If it fails too, check the parameters of the message.',
    ),
    2494100: transient('The phone number is under maintenance for a moment.', FIX_RETRIED),
    # Registration of the number
    133000: transient(
        'An earlier deregistration of the phone number has not finished.',
        'It is tried again by itself. If it fails too, deregister the number and register it '
        'again.',
    ),
    133005: account(
        'The PIN for two-step verification is wrong.',
        'Use the right PIN or set a new one in WhatsApp Manager, register, then resume the '
        'account.',
    ),
    133006: account(
        'The phone number must be verified before it can be registered.',
        'Verify it by SMS or call, register it, then resume the account.',
    ),
    133008: account(
        'The PIN was wrong too many times.',
        'Wait as long as details says, register with the right PIN, then resume the account.',
    ),
    133009: account(
        'The PIN was entered again too quickly.',
        'Wait a little, register with the right PIN, then resume the account.',
    ),
    133010: account(
        'The phone number is not registered on the WhatsApp Business Platform.',
        'Register it with its PIN, then resume the account.',
    ),
    133015: deferred(
        'The phone number was deleted moments ago, and Meta has not finished.', FIX_WAIT, delay=300
    ),
    133016: account(
        'The phone number was registered or deregistered too often: ten times in 72 hours.',
        'Wait 72 hours, register it, then resume the account.',
    ),
}
