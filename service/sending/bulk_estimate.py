"""What a bulk would send now, and what it would cost: nothing is stored, nobody is held up.

It goes the way of a real one (submit.py) as far as it only looks. Somebody who is new to us may
get it; of those who are known, window and opt-out decide.
"""

from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from service.accounts.account import Account
from service.billing import usage
from service.content.calling_codes import country_of
from service.content.person_id import named
from service.conversations.identity_store import find_known
from service.media import outbound_file
from service.messages.references import with_wamids
from service.sending import send_policy
from service.sending.outbound_message import OutboundMessage
from service.sending.personalisation import Body
from service.sending.recipients import Conversations, RecipientList
from service.templates import template

BODIES_AT_ONCE = 1000
SERVICE = 'service'  # Meta's category of whatever is no template


def estimate(account: Account, recipients: RecipientList) -> dict[str, Any]:
    """What callers are told. Raises Invalid, or Conflict when nobody is left, as a real one."""
    outbound_file.check(account.chatbot_id, recipients.with_other_files(), 'message')
    message = with_wamids(account.chatbot_id, recipients.personalisation.message, 'message.')
    recipients.personalisation.message = message
    known = find_known(recipients.accepted)
    conversations = {
        claim: known.get(claim, f'new {number}') for number, claim in enumerate(recipients.accepted)
    }
    recipients.count_once(conversations)
    draft = OutboundMessage('', message, template.find_templates(account.waba_id, [message]))
    recipients.exclude(conversations, send_policy.decide_all(draft, list(known.values())))
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
    bodies = (body for _, body in recipients.messages(conversations))
    while some := list(islice(bodies, BODIES_AT_ONCE)):
        templates = template.find_templates(account.waba_id, some)
        for body in some:
            counts[_category(OutboundMessage('', body, templates)), _country(body)] += 1
    return counts


def _category(message: OutboundMessage) -> str:
    if message.type != 'template':
        return SERVICE
    return (message.template and message.template.category) or ''


def _country(body: Body) -> str:
    if body.get('recipient_type') == 'group':
        return ''
    return country_of(named(body.get('to'), body.get('recipient')).get('phone')) or ''
