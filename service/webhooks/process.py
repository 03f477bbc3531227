"""What a batch of webhook events becomes: parse them, resolve who is meant, store what they say, note each outcome."""

import logging
from collections import Counter

from service.accounts.account import learn
from service.conversations import conversation
from service.conversations.identity import TryAgain, resolve
from service.graph.client import error_from, first_error
from service.graph.error_codes import look_up
from service.graph.error_shapes import errors_in, told_errors
from service.messages import fact
from service.messages.fact import Fact, status_type
from service.runtime.db import LOCK_NOT_AVAILABLE, LOCKED, db, fetch, fetch_dicts, passes, sqlstate
from service.runtime.queues import retry_delay
from service.runtime.untrusted import as_dict, clean
from service.sending import delivery_status, escalation, rate_limit
from service.sending.delivery_status import Status
from service.webhooks import calls_and_preferences, echoes_field, field_handlers, identity_claims, inbox, messages_field
from service.webhooks.payload import NotAnEvent, flatten, parse, participant

log = logging.getLogger(__name__)


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
            events = inbox.claim()
            settle(events)
        return len(events)
    except TryAgain:
        raise
    except Exception as error:
        if passes(error) and sqlstate(error) not in LOCKED:  # a deadlock, a lost connection: it is as it was
            raise
        log.error('a batch of events failed, taking them one by one', exc_info=error)
        return _one_by_one()


def _one_by_one():
    for done in range(inbox.CLAIM_EVENTS):
        with db.atomic():
            events = inbox.claim(1)
            if not events:
                return done
            _settle_alone(events[0])
    return inbox.CLAIM_EVENTS


def _settle_alone(row):
    event_id, path, body, attempts, received_at = row
    try:
        with db.atomic():
            items = flatten(parse(bytes(body)), received_at)
            for item in items:
                _settle_item(item, path)
            inbox.processed([(event_id, items)])
    except NotAnEvent as reason:
        _quarantine(event_id, reason)
    except TryAgain:
        raise
    except Exception as error:
        _failed(event_id, attempts + 1, error)


def _failed(event_id, attempt, error):
    """By itself it failed, too: others go on, and it comes again. Waiting for a lock is no attempt."""
    if passes(error) and sqlstate(error) not in LOCKED:
        raise error
    log.error('an event failed', exc_info=error, extra={'event_id': event_id, 'attempt': attempt})
    if sqlstate(error) == LOCK_NOT_AVAILABLE:
        inbox.postpone(event_id, retry_delay(1))
    else:
        inbox.failed(event_id, retry_delay(attempt), type(error).__name__)


def _settle_item(item, path):
    try:
        with db.atomic():
            settle_items([(item, path)])
    except TryAgain:
        raise
    except Exception as error:
        if passes(error):
            raise
        log.error('an item failed', exc_info=error, extra={'kind': item.kind})
        item.settle('invalid', f'could not be stored ({type(error).__name__})')


def settle(events):
    """Parse events, store what is in them and write each item's outcome; in the caller's transaction."""
    parsed = []
    for event_id, path, body, _, received_at in events:
        try:
            parsed.append((event_id, path, flatten(parse(bytes(body)), received_at)))
        except NotAnEvent as reason:
            _quarantine(event_id, reason)
    settle_items([(item, path) for _, path, items in parsed for item in items])
    inbox.processed([(event_id, items) for event_id, _, items in parsed])
    for event_id, path, items in parsed:
        outcomes = Counter(f'{item.kind} {item.outcome}' for item in items)
        log.info('event processed', extra={'event_id': event_id, 'path': path or None, 'items': dict(outcomes)})


def _quarantine(event_id, reason):
    inbox.quarantine(event_id, str(reason))
    log.warning('event quarantined', extra={'event_id': event_id, 'reason': str(reason)})


def settle_items(items):
    """Give every (item, path) its outcome: messages and statuses in bulk, the rest by looking."""
    accounts = _accounts({item.phone_number_id for item, _ in items if item.phone_number_id})
    messages, statuses, persons, changed, updates, told, others = [], [], [], [], [], [], []
    for item, path in items:
        account = accounts.get(item.phone_number_id)
        if item.problem:
            item.settle('invalid', item.problem)
        elif refusal := _refusal(item, account, path):
            item.settle('refused', refusal)
        elif item.kind in identity_claims.OF:
            (messages if item.kind == 'message' else statuses).append((item, account))
            persons.append((item, account))
        elif item.key == echoes_field.FIELD and account:
            changed.append((item, account))
        elif item.key in calls_and_preferences.FIELDS and account:
            told.append((item, account))
        elif item.key == identity_claims.UPDATE:
            updates += identity_claims.of_update(item, _chatbots(item, account, path))
            item.settle('stored')
        else:
            others.append((item, path))
    echoes = echoes_field.found_in(changed)
    told = calls_and_preferences.found_in(told)
    people = _people(persons + echoes, told, updates)
    messages_field.store(messages, echoes, people)
    calls_and_preferences.keep(told, people)
    for item, path in sorted(others, key=_waba):  # what waits for a template is locked after the conversations
        item.settle(*_kept(item, path))
    _store_statuses(statuses, people)
    learn(persons)


def _waba(one):
    """In whose order changes are taken: two workers with those of several WABAs must not wait for each other."""
    return str(one[0].data.get('waba_id') or '')


def _people(persons, told, updates):
    """{id(item): conversation} of whom messages are from and statuses speak of; one SELECT when all are known."""
    told = {id(sign): sign.identity for sign in told}
    told |= {id(item): identity_claims.of_item(item, account['chatbot_id']) for item, account in persons}
    found = resolve([*filter(None, told.values()), *updates], hold=True)  # in the order of arrival
    return {one: found[identity] for one, identity in told.items() if identity and found[identity]}


def _chatbots(item, account, path):
    """Whom a change of a whole WABA concerns, when it names no number."""
    if account:
        return [account['chatbot_id']]
    rows = fetch(
        'SELECT chatbot_id FROM whatsapp_cloud_account WHERE waba_id = %s '
        "AND CASE %s WHEN '' THEN app_secret IS NULL ELSE chatbot_id = %s END",
        (item.data['waba_id'], path, path),
    )
    return [row[0] for row in rows]


def _accounts(numbers):
    rows = fetch_dicts(
        'SELECT chatbot_id, phone_number_id, display_phone_number, waba_id, active, app_secret IS NOT NULL AS own_app, '
        "opt_out_words, opt_in_words, responder ->> 'kind' AS responder FROM whatsapp_cloud_account "
        'WHERE phone_number_id = ANY(%s)',
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
            rate_limit.slow_down(rate_limit.scope_keys(item.phone_number_id, None, None)[0])
        return 'stored', ': '.join(filter(None, (error['title'], error['details'])))
    return field_handlers.keep(item, path)


def _store_statuses(found, people):
    """What speaks of messages' states moves them; what speaks of anything else is kept."""
    statuses = [(item, _told(item, account['chatbot_id'])) for item, account in found]
    outcomes, refusals = delivery_status.store([one for _, one in statuses if isinstance(one, Status)])
    outcomes |= fact.store([one for _, one in statuses if isinstance(one, Fact)])
    escalation.draw(refusals)
    names = {}
    for item, one in statuses:
        item.settle(outcomes.pop(one.key, 'duplicate'))
        if item.outcome != 'duplicate' and id(item) in people and (profile := identity_claims.profile(item)):
            names[people[id(item)]] = item.told_at, profile.get('username'), profile.get('name')
    conversation.named([(id_, *row) for id_, row in names.items()])


def _told(item, chatbot_id):
    data = item.data
    if status_type(data):
        return fact.of_status(item, chatbot_id)
    errors = told_errors(data)
    errors = errors if isinstance(errors, list) else errors_in(errors) or None
    recipient = {name: data[name] for name in data if name.startswith(('recipient_', 'parent_recipient_'))}
    return Status(
        chatbot_id, item.phone_number_id, item.wamid, clean(data['status'], 64), participant(data),
        item.at, clean(data.get('biz_opaque_callback_data'), 512), first_error(errors), errors,
        as_dict(data.get('pricing')) or None, recipient,
    )  # fmt: skip
