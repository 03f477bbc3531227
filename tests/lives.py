"""Random lives: people with phones and BSUIDs, what they do, and what Meta tells of it."""

from itertools import count
from types import SimpleNamespace

START = 1790000000
NUMBERS = [f'1202555{n:04}' for n in range(6)]


class World:
    """People, what they do, and what Meta tells of it: `told`, in the order in which it happened.

    Either numbers are `handed_on` to others, and everybody shows a BSUID; or they are not, and
    people may show a phone alone, as before April 2026.
    """

    def __init__(self, handed_on):
        self.handed_on, self.now, self.ids = handed_on, START, count(1)
        self.free = [*NUMBERS] if handed_on else [f'1202556{n:04}' for n in range(200)]
        self.people = [self.somebody(name) for name in ('Ana', 'Ben', 'Zoe')]
        self.told = []

    def somebody(self, name):
        return SimpleNamespace(
            name=name, phone=self.free.pop(0), user=self.new_user(), legacy=False
        )

    def new_user(self):
        return f'US.{next(self.ids)}'

    def tell(self, kind, person, at=None, **more):
        self.told.append(
            SimpleNamespace(
                kind=kind, name=person.name, at=at or self.now, id=next(self.ids), **more
            )
        )

    # ---- what may happen; `how` is a small number that decides the details

    def write(self, person, how):
        shown = (
            [(1, 1), (0, 1), (1, 1), (0, 1)][how % 4]
            if self.handed_on
            else [(1, 1), (0, 1), (1, 0)][how % 3]
        )
        self.tell('message', person, phone=shown[0] and person.phone, user=shown[1] and person.user)

    def echo(self, person, how):
        self.tell('echo', person, phone=how % 2 and person.phone, user=person.user)

    def send(self, person, how):
        """The backend writes: to a phone, or to the BSUID.

        Meta answers, and tells of it in statuses.
        """
        by_phone, sent = how % 3, SimpleNamespace(id=None)
        self.tell('send', person, phone=by_phone and person.phone, user=person.user, sent=sent)
        ids = {'phone': person.phone, 'user': person.user, 'sent': sent}
        if how % 5:
            self.tell('answer', person, **ids)
        for status in ('sent', 'delivered', 'read')[: how % 4]:
            self.tell('status', person, status=status, **ids)

    def change(self, person, how):
        """Another number, hence another BSUID, with Meta's news of it or without."""
        old, person.phone = person.phone, self.free.pop(0)
        before, person.user = person.user, self.new_user()
        if self.handed_on:
            self.free.append(old)
        ids = {'user': person.user, 'before': before}
        if how % 4 < 2:
            self.tell(
                'news', person, type='user_changed_number', old=old, phone=person.phone, **ids
            )
        elif how % 4 == 2:
            self.tell('news', person, type='user_changed_user_id', old=None, phone=None, **ids)
        else:
            self.people[self.people.index(person)] = SimpleNamespace(
                **{**vars(person), 'name': f'{person.name}+'}
            )

    ACTIONS = (write, write, write, send, send, echo, change)

    def live(self, acts):
        for act, who, how, seconds in acts:
            self.now += seconds
            self.ACTIONS[act](self, self.people[who % len(self.people)], how)
            self.now += act == 6
        return self


def written(one):
    """(phone, BSUID) as Meta may write them: with a plus, with marks, the BSUID as the phone."""
    phone = (
        one.phone
        and [one.phone, f'+{one.phone}', f'\u202a+{one.phone[0]}\u00a0{one.phone[1:]}\u202c'][
            one.id % 3
        ]
    )
    if phone or not one.user or one.id % 2:
        return phone, one.user
    return one.user, [None, one.user, f'{one.user} '][one.id % 3]


def message(one):
    phone, user = written(one)
    ids = {'from': phone, 'from_user_id': user}
    body = {'type': 'text', 'text': {'body': one.name}}
    if one.kind == 'echo':
        ids = {'from': '15550104477', 'to': phone, 'to_user_id': user}
    if one.kind == 'news':
        system = {'type': one.type, 'wa_id': phone, 'user_id': user, 'previous_user_id': one.before}
        ids = {'from': one.old or (one.before if one.id % 2 else None)}
        body = {'type': 'system', 'system': {k: v for k, v in system.items() if v}}
    ids = {name: value for name, value in ids.items() if value}
    return {**ids, 'id': f'wamid.{one.id}', 'timestamp': str(one.at), **body}


def status(one):
    phone, user = written(one)
    return {
        'id': f'wamid.of.{one.sent.id}',
        'status': one.status,
        'timestamp': str(one.at),
        'recipient_id': phone,
        'recipient_user_id': user,
        'biz_opaque_callback_data': one.sent.id,
    }
