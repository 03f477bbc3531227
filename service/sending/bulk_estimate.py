"""What a bulk would send now, and what it would cost: nothing is stored, nobody is held up.

It goes the way of a real one (submit.py) as far as it only looks. Somebody who is new to us may
get it; of those who are known, window and opt-out decide.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from service.accounts.account import Account
from service.billing import usage
from service.content.calling_codes import country_of
from service.content.person_id import named
from service.conversations.identity_store import find_known
from service.runtime.ids import new_id
from service.sending import submit
from service.sending.outbound_message import OutboundMessage
from service.sending.personalisation import Body
from service.sending.recipients import Conversations, RecipientList

SERVICE = 'service'  # Meta's category of whatever is no template


def estimate(account: Account, recipients: RecipientList) -> dict[str, Any]:
    """What callers are told. Raises Invalid, or Conflict when nobody is left, as a real one."""
    submit.check_bulk(account, recipients)
    known = find_known(recipients.accepted)
    conversations = {claim: known.get(claim) or new_id() for claim in recipients.accepted}
    submit.leave_out(account, recipients, conversations)
    counts = _counts(account, recipients, conversations)
    costs, in_all = usage.price_more(account.chatbot_id, counts, datetime.now(UTC).date())
    return {
        'dry_run': True,
        'chatbot_id': account.chatbot_id,
        'recipients': recipients.total,
        'rejected': recipients.rejected,
        'duplicates': recipients.duplicates,
        'dropped': recipients.dropped,
        'accepted': len(recipients.accepted),
        **in_all,
        'costs': costs,
        'rejected_rows': recipients.rejected_rows,
        'dropped_rows': recipients.dropped_rows,
    }


def _counts(
    account: Account, recipients: RecipientList, conversations: Conversations
) -> Counter[tuple[str, str]]:
    """How many messages of which category go to which country; '' where it is not known."""
    counts: Counter[tuple[str, str]] = Counter()
    for messages in submit.messages_of(account, recipients, conversations):
        counts.update((_category(one), _country(one.body)) for one in messages)
    return counts


def _category(message: OutboundMessage) -> str:
    if message.type != 'template':
        return SERVICE
    return (message.template and message.template.category) or ''


def _country(body: Body) -> str:
    if body.get('recipient_type') == 'group':
        return ''
    return country_of(named(body.get('to'), body.get('recipient')).get('phone')) or ''
