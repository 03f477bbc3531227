"""Webhook events → rows, then customers who wait → replies. One loop gathers both; a slow AI never delays an event."""

import json
import logging
from collections import Counter

from peewee import OperationalError

from service import changes, consequences, conversation, event, limits, message, status
from service.account import learn
from service.config import settings
from service.db import db, fetch_dicts, new_id, to_json
from service.error_table import look_up
from service.graph import error_from
from service.identity import Identity, TryAgain, resolve
from service.queues import INCOMING, retry_delay
from service.status import Status
from service.webhook_events import (
    MAX_NAME,
    NotAnEvent,
    as_dict,
    clean,
    flatten,
    identifier,
    moment,
    parse,
    participant,
)  # fmt: skip
from workers import drain as loop
from workers import replies

log = logging.getLogger(__name__)

ANSWERED = frozenset((
    'text', 'image', 'video', 'audio', 'document', 'sticker', 'location', 'contacts', 'interactive', 'button', 'order',
    'request_welcome',
))  # fmt: skip
COMMON = frozenset(('from', 'from_user_id', 'from_parent_user_id', 'group_id', 'id', 'timestamp', 'type', 'context'))


def work_off():
    """What is due of events, up to a batch; returns how many, or 1 when there is something left to do again."""
    try:
        return _batch()
    except TryAgain as reason:
        reason.mend()
        return 1


def _batch():
    """One batch of events in one transaction; when it fails, one by one, so that a bad one costs only itself."""
    try:
        with db.atomic():
            events = event.claim()
            settle(events)
        return len(events)
    except (OperationalError, TryAgain):  # deadlock, lost connection: the batch is as it was
        raise
    except Exception as error:
        log.error('a batch of events failed, taking them one by one', exc_info=error)
        return _one_by_one()


def _one_by_one():
    for done in range(event.CLAIM_EVENTS):
        with db.atomic():
            events = event.claim(1)
            if not events:
                return done
            _settle_alone(events[0])
    return event.CLAIM_EVENTS


def _settle_alone(row):
    event_id, path, body, attempts = row
    try:
        with db.atomic():
            items = flatten(parse(bytes(body)))
            for item in items:
                _settle_item(item, path)
            event.processed([(event_id, items)])
    except NotAnEvent as reason:
        _quarantine(event_id, reason)
    except (OperationalError, TryAgain):
        raise
    except Exception as error:
        log.error('an event failed', exc_info=error, extra={'event_id': event_id, 'attempt': attempts + 1})
        event.failed(event_id, retry_delay(attempts + 1), type(error).__name__)


def _settle_item(item, path):
    try:
        with db.atomic():
            settle_items([(item, path)])
    except (OperationalError, TryAgain):
        raise
    except Exception as error:
        log.error('an item failed', exc_info=error, extra={'kind': item.kind})
        item.settle('invalid', f'could not be stored ({type(error).__name__})')


def settle(events):
    """Parse events, store what is in them and write each item's outcome; in the caller's transaction."""
    parsed = []
    for event_id, path, body, _ in events:
        try:
            parsed.append((event_id, path, flatten(parse(bytes(body)))))
        except NotAnEvent as reason:
            _quarantine(event_id, reason)
    settle_items([(item, path) for _, path, items in parsed for item in items])
    event.processed([(event_id, items) for event_id, _, items in parsed])
    for event_id, path, items in parsed:
        outcomes = Counter(f'{item.kind} {item.outcome}' for item in items)
        log.info('event processed', extra={'event_id': event_id, 'path': path or None, 'items': dict(outcomes)})


def _quarantine(event_id, reason):
    event.quarantine(event_id, str(reason))
    log.warning('event quarantined', extra={'event_id': event_id, 'reason': str(reason)})


def settle_items(items):
    """Give every (item, path) its outcome: messages and statuses in bulk, the rest by looking."""
    accounts = _accounts({item.phone_number_id for item, _ in items if item.phone_number_id})
    messages, statuses = [], []
    for item, path in items:
        account = accounts.get(item.phone_number_id)
        if item.problem:
            item.settle('invalid', item.problem)
        elif refusal := _refusal(item, account, path):
            item.settle('refused', refusal)
        elif item.kind == 'message':
            messages.append((item, account))
        elif item.kind == 'status':
            statuses.append((item, account))
        else:
            item.settle(*_kept(item, path))
    _store_messages(messages)
    _store_statuses(statuses)
    learn(messages + statuses)


def _accounts(numbers):
    rows = fetch_dicts(
        'SELECT chatbot_id, phone_number_id, display_phone_number, waba_id, active, app_secret IS NOT NULL AS own_app, '
        "responder ->> 'kind' AS responder FROM whatsapp_cloud_account WHERE phone_number_id = ANY(%s)",
        (sorted(numbers),),
    )
    return {row['phone_number_id']: row for row in rows}


def _refusal(item, account, path):
    """Why an item may not come in by this path, None when it may."""
    if account is None:
        return 'no account has this phone_number_id' if item.phone_number_id else None
    if path and account['chatbot_id'] != path:
        return "the number is another account's"
    if not path and account['own_app']:
        return 'the account is served on its own path alone'
    return None


def _kept(item, path):
    """A value error stays in the event's body, as do most changes of other fields."""
    if item.kind == 'value_error':
        error = error_from(item.data)
        log.warning(
            'meta reports an error',
            extra={'phone_number_id': item.phone_number_id, 'code': error['code'], 'title': error['title']},
        )
        if look_up(error['code']).scope == 'number':
            limits.slow_down(limits.scope_keys(item.phone_number_id, None, None)[0])
        return 'stored', error['title']
    return changes.keep(item, path)


def _store_messages(found):
    senders = []
    for item, account in found:
        identity = _identity(item, account['chatbot_id'])
        if identity.known_by():
            senders.append((item, account, identity))
        else:
            item.settle('invalid', 'no sender')
    if not senders:
        return
    conversations = resolve(dict.fromkeys(identity for _, _, identity in senders), hold=True)  # in the order of arrival
    first = {}
    for item, account, identity in senders:
        key = (item.phone_number_id, item.wamid)
        if key in first:
            item.settle('duplicate')
        else:
            first[key] = (item, account, conversations[identity])
    stored = message.insert_inbound([_row(*one) for one in first.values()])
    conversation.heard_from(_news(one for key, one in first.items() if key in stored))
    message.log_usage(list(stored.values()))
    for key, (item, _, _) in first.items():
        item.settle('stored' if key in stored else 'duplicate')


def _identity(item, chatbot_id):
    """Whom a message is from (section 4.3). A system message speaks of who somebody was before."""
    data, contact = item.data, item.contact
    if group := identifier(data.get('group_id')):
        return Identity(chatbot_id, group=group)
    user = identifier(data.get('from_user_id')) or identifier(contact.get('user_id'))
    phone = identifier(data.get('from')) or identifier(contact.get('wa_id'))
    if data.get('type') == 'system':
        system = as_dict(data.get('system'))
        user = identifier(system.get('previous_user_id')) or user or identifier(system.get('user_id'))
    return Identity(chatbot_id, phone=phone, user=user)


def _row(item, account, conversation_id):
    """The columns of message.insert_inbound."""
    data = item.data
    kind = _kind(data)
    sender = {
        name: data[name] for name in ('from', 'from_user_id', 'from_parent_user_id', 'group_id') if data.get(name)
    }
    extra = {name: value for name, value in data.items() if name not in COMMON and name != kind}
    return (
        new_id(), account['chatbot_id'], conversation_id, item.phone_number_id, kind, item.wamid, json.dumps(sender),
        json.dumps(data.get(kind, {})), to_json(data.get('context')), to_json(extra or None),
        moment(data.get('timestamp')),
    )  # fmt: skip


def _kind(data):
    return clean(data.get('type'), MAX_NAME) or 'unknown'


def _news(stored):
    """What new messages tell about their conversations, the latest last."""
    news = {}
    for item, account, conversation_id in stored:
        row = news.setdefault(conversation_id, {})
        at = moment(item.data.get('timestamp'))
        row['at'] = max(filter(None, (row.get('at'), at)), default=None)
        if _wants_reply(item, account):
            row['reply_after'] = settings.REPLY_QUIET_SECONDS
        if not item.data.get('group_id') and item.data.get('type') != 'system':
            row.update(_profile(item))
    return news


def _wants_reply(item, account):
    if item.data.get('group_id') or _kind(item.data) not in ANSWERED or not account['active']:
        return False
    return account['responder'] != 'none' if account['responder'] else bool(settings.AI_BASE_URL)


def _profile(item):
    data, contact = item.data, item.contact
    profile = as_dict(contact.get('profile'))
    known = {
        'wa_id': identifier(data.get('from')) or identifier(contact.get('wa_id')),
        'user_id': identifier(data.get('from_user_id')) or identifier(contact.get('user_id')),
        'parent_user_id': identifier(data.get('from_parent_user_id')) or identifier(contact.get('parent_user_id')),
        'username': clean(profile.get('username'), 255),
        'name': clean(profile.get('name'), 255),
    }
    return {name: value for name, value in known.items() if value}


def _store_statuses(found):
    statuses = [(item, _status(item, account['chatbot_id'])) for item, account in found]
    outcomes, refusals = status.store([one for _, one in statuses])
    consequences.draw(refusals)
    for item, one in statuses:
        item.settle(outcomes.pop(one.key, 'duplicate'))


def _status(item, chatbot_id):
    data = item.data
    errors = data.get('errors') if isinstance(data.get('errors'), list) else None
    error = error_from(errors[0]) if errors and isinstance(errors[0], dict) else None
    recipient = {name: data[name] for name in data if name.startswith(('recipient_', 'parent_recipient_'))}
    return Status(
        chatbot_id, item.phone_number_id, item.wamid, clean(data['status'], 64), participant(data),
        moment(data.get('timestamp')), clean(data.get('biz_opaque_callback_data'), 512), error, errors,
        as_dict(data.get('pricing')) or None, recipient,
    )  # fmt: skip


def step():
    """Events first; then the customers whose quiet time is over."""
    return work_off() + replies.crew_of_this_process().step()


def drain():
    """The job of the incoming queue."""
    loop.drain(INCOMING, step, crew=replies.crew_of_this_process().crew)


close = replies.close
