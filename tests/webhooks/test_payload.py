"""Meta's body to a flat list of items: pure, so it needs no server."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.runtime.untrusted import clean
from service.webhooks.field_handlers import KNOWN_FIELDS
from service.webhooks.payload import NotAnEvent, flatten, parse
from tests.people import MANIFEST, PAYLOADS, contact, envelope, status_of, text_message
from tests.stack import PHONE_NUMBER_ID

FILES = {entry['file']: entry['expect'] for entry in MANIFEST['files']}


@pytest.mark.parametrize('name', FILES)
def test_every_payload_gives_the_manifests_counts_and_keys(name):
    expected = FILES[name]
    items = flatten(parse((PAYLOADS / name).read_bytes()))
    kinds = [item.kind for item in items]
    assert kinds.count('message') == expected['messages']
    assert kinds.count('status') == expected['statuses']
    assert kinds.count('value_error') == expected['value_errors']
    assert kinds.count('change') == expected['other_changes']
    keys = {item.key for item in items if item.kind in ('message', 'status')}
    assert len(keys) == expected['distinct_keys']
    assert keys == set(expected.get('keys', keys))
    assert not [item.problem for item in items if item.problem]


def test_every_file_is_in_the_manifest():
    assert {path.name for path in PAYLOADS.glob('*.json')} - {'MANIFEST.json'} == set(FILES)


# ---- whatever stands anywhere in the envelope

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**301),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.sampled_from(['', '\x00', '\ud83d', 'messages', 'wamid.' + 'x' * 600, '9' * 5000]),
)
anything = st.recursive(
    odd,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def mostly(strategy):
    """What Meta sends in most cases, else anything at all; None stands for a missing key."""
    return st.one_of(strategy, strategy, strategy, anything)


def part(**keys):
    return mostly(st.fixed_dictionaries({}, optional=keys))


NAMES = ('from', 'from_user_id', 'id', 'type', 'status', 'code', 'user_id', 'wa_id', 'timestamp')
parts = mostly(
    st.lists(
        part(
            **dict.fromkeys(NAMES, anything),
            text=anything,
            recipient_participant_id=anything,
        ),
        max_size=3,
    )
)
values = part(
    metadata=part(phone_number_id=mostly(st.just(PHONE_NUMBER_ID))),
    **dict.fromkeys(('messages', 'statuses', 'errors', 'contacts'), parts),
)
changes = part(
    field=mostly(st.sampled_from(['messages', 'messages', 'calls', 'history', 'new'])), value=values
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        'entry': mostly(st.lists(part(changes=mostly(st.lists(changes, max_size=3))), max_size=3))
    },
)


def independent_count(body):
    """The number of items that the contract asks for.

    One for each message, status and value error, each change of another field, and each object of
    a list that has no meaning where it stands.
    """
    return sum(count_of_entry(entry) for entry in listed(body, 'entry')) + strange(body, 'entry')


def count_of_entry(entry):
    if not isinstance(entry, dict):
        return 1
    return sum(count_of_change(change) for change in listed(entry, 'changes')) + strange(
        entry, 'changes'
    )


def count_of_change(change):
    value = (
        change.get('value')
        if isinstance(change, dict) and change.get('field') == 'messages'
        else None
    )
    if not isinstance(value, dict):
        return 1
    known = ('messages', 'statuses', 'errors')
    return sum(len(listed(value, name)) for name in known) + strange(value, *known, 'contacts')


def strange(container, *known):
    lists = [
        value
        for name, value in container.items()
        if name not in known and isinstance(value, list) and value
    ]
    return sum(sum(isinstance(one, dict) for one in value) or 1 for value in lists)


def listed(container, name):
    """A list's elements; something else in its place is one part that cannot be used."""
    value = container.get(name)
    return (
        value if isinstance(value, list) else [] if value is None else ['one that cannot be used']
    )


@settings(max_examples=200, deadline=None)
@given(bodies)
def test_no_value_anywhere_raises_and_every_part_is_accounted_for(body):
    items = flatten(body)
    assert len(items) == independent_count(body)
    for item in items:
        assert item.kind in ('message', 'status', 'value_error', 'change')
        assert item.key == clean(item.key, 2000)
        if not item.problem and item.kind in ('message', 'status'):
            assert item.wamid
            assert item.phone_number_id


@settings(max_examples=150, deadline=None)
@given(bodies)
def test_what_went_over_the_wire_gives_the_same_items(body):
    assert [item.key for item in flatten(parse(json.dumps(body).encode()))] == [
        item.key for item in flatten(body)
    ]


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=80)
    | st.text(max_size=80).map(lambda text: text.encode('utf-8', 'surrogatepass'))
)
def test_parse_gives_a_dict_or_says_that_it_is_none(raw):
    try:
        event = parse(raw)
    except NotAnEvent:
        event = {}
    assert isinstance(event, dict)


# ---- one by one


def test_every_entry_and_every_change_is_walked():
    body = envelope(
        [text_message(wamid='a'), text_message(wamid='b')],
        [status_of('c', 'sent')],
        errors=[{'code': 1}],
    )
    body['entry'] += envelope([text_message(wamid='d')], number='77')['entry']
    body['entry'][0]['changes'].append(
        {'field': 'calls', 'value': {'statuses': [{'id': 'e', 'status': 'RINGING'}]}}
    )
    assert [item.key for item in flatten(body)] == [
        f'm|{PHONE_NUMBER_ID}|a',
        f'm|{PHONE_NUMBER_ID}|b',
        f's|{PHONE_NUMBER_ID}|c|sent|',
        f'e|{PHONE_NUMBER_ID}|1',
        'calls',
        'm|77|d',
    ]


@pytest.mark.parametrize(
    ('damage', 'problem'),
    [
        ({'id': None}, 'no id'),
        ({'id': ''}, 'no id'),
        ({'id': 17}, 'no id'),
        ({'id': ['wamid.A']}, 'no id'),
        ({'id': 'w' * 600}, 'longer'),
        ({'id': '\U0001f389' * 200}, 'longer'),
    ],
)
def test_a_message_without_a_usable_id_has_a_problem_and_its_neighbour_none(damage, problem):
    bad, good = flatten(envelope([text_message(**damage), text_message(wamid='good')]))
    assert problem in bad.problem
    assert not good.problem


@pytest.mark.parametrize('status', [None, '', 5, ['sent'], 's' * 65])
def test_a_status_without_a_usable_status_has_a_problem(status):
    (item,) = flatten(envelope(statuses=[status_of('wamid.A', status)]))
    assert item.problem == 'no status'


def test_a_phone_number_id_may_be_a_number():
    assert (
        flatten(envelope([text_message()], number=int(PHONE_NUMBER_ID)))[0].phone_number_id
        == PHONE_NUMBER_ID
    )


def test_the_senders_contact_is_found_by_bsuid_then_by_number_and_never_by_position():
    first, second, third = contact('A', '1', 'US.1'), contact('B', '2', 'US.2'), contact('C', '3')
    messages = [
        text_message(wamid='a', phone='1', user='US.2'),  # the BSUID wins
        text_message(wamid='b', phone='3', user='US.9'),
        text_message(wamid='c', phone='4', user='US.4'),
        text_message(wamid='d', phone=3),
    ]
    items = flatten(envelope(messages, contacts=[first, second, 'nonsense', third]))
    assert [item.contact.get('profile', {}).get('name') for item in items] == ['B', 'C', None, 'C']


@pytest.mark.parametrize(
    'name',
    ['recipient_participant_user_id', 'recipient_participant_id', 'participant_recipient_id'],
)
def test_the_participant_of_a_group_is_part_of_a_statuss_key(name):
    (item,) = flatten(envelope(statuses=[status_of('wamid.A', 'read', **{name: 'US.1'})]))
    assert item.key == f's|{PHONE_NUMBER_ID}|wamid.A|read|US.1'


def test_another_fields_messages_and_statuses_are_no_messages_and_statuses():
    body = envelope([text_message()], [status_of('wamid.B', 'sent')])
    for name in sorted(KNOWN_FIELDS) + ['quantum_receipts', '', None, 5]:
        body['entry'][0]['changes'][0]['field'] = name
        assert [item.kind for item in flatten(body)] == ['change']


def test_numbers_that_nobody_could_write_again_stay_text():
    event = parse(b'{"c": 1e999, "d": %s, "e": 1.5, "f": 7}' % (b'9' * 5000))
    assert event == {'c': '1e999', 'd': '9' * 5000, 'e': 1.5, 'f': 7}


@pytest.mark.parametrize(
    'raw',
    [
        b'',
        b'x',
        b'[]',
        b'"a"',
        b'1',
        b'null',
        b'[' * 100_000,
        b'\xff{}',
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":[-Infinity]}',
    ],
)
def test_a_body_that_is_no_json_object_is_not_an_event(raw):
    with pytest.raises(NotAnEvent):
        parse(raw)
