"""Whom a claim means, without a database: a table of cases with names, one for each condition."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from service.content.person_id import PersonId
from service.conversations.identity_claim import (
    PHONE,
    PREVIOUS_PHONE,
    SUPERSEDED,
    USER,
    IdentityClaim,
    Key,
)
from service.conversations.identity_conditions import (
    fits_change,
    is_about_previous,
    is_before_handover,
    takes_over,
)
from service.conversations.identity_match import IdentityMatcher
from service.conversations.identity_resolution import Resolution
from service.conversations.identity_store import IdentityOwner
from service.conversations.merge import Merge

ANA, BEN = 'conversation 1 of Ana', 'conversation 2 of Ben'
HERS, HIS, UNKNOWN = 'US.1', 'US.2', 'US.3'
OLD, NEW = '12025550143', '12025550199'
LONG, SHORT = '5511987654321', '551187654321'  # a number of Brazil, with and without its 9
BEFORE, HANDOVER, AFTER = (datetime(2026, 9, 1, 12, 0, second, tzinfo=UTC) for second in range(3))
Known = dict[tuple[str, str], tuple[str, datetime | None]]


def claim(**told) -> IdentityClaim:
    return IdentityClaim('acme', **told)


def change(*before: tuple[str, str], **told) -> IdentityClaim:
    """Somebody's news of other ids than those of before."""
    return claim(is_change=True, other_ids=tuple(PersonId(*one) for one in before), **told)


def owner(seen_at, conversation_id=ANA) -> IdentityOwner:
    return IdentityOwner('acme', PHONE, OLD, conversation_id, seen_at)


@dataclass
class Case:
    known: Known  # {(kind, value): (conversation, when)}
    claim: IdentityClaim
    means: str | None
    merges: list[tuple[str, str, bool]] = field(default_factory=list)  # (source, target, certain)
    sent_to: str | None = None  # to whom message 'm' went


HER_ID = {(USER, HERS): (ANA, BEFORE)}
HIS_ID = {(USER, HIS): (BEN, BEFORE)}
HER_PHONE = {(PHONE, OLD): (ANA, BEFORE)}
HIS_PHONE = {(PHONE, OLD): (BEN, BEFORE)}
WAS_HERS = {(PREVIOUS_PHONE, OLD): (ANA, HANDOVER)}
IS_HIS_SINCE = {(PHONE, OLD): (BEN, HANDOVER)}

CASES = {
    'nobody is known': Case({}, claim(phone=OLD, user=HERS, at=AFTER), None),
    'a group is known': Case({('group', 'g'): (ANA, None)}, claim(group='g'), ANA),
    'a BSUID is hers': Case(HER_ID, claim(user=HERS), ANA),
    'a BSUID is hers, and her phone is new': Case(HER_ID, claim(user=HERS, phone=NEW), ANA),
    'a phone alone is of whoever has it': Case(HER_ID | HER_PHONE, claim(phone=OLD), ANA),
    'an unknown BSUID with the phone of somebody without one': Case(
        HER_PHONE, claim(user=UNKNOWN, phone=OLD, at=AFTER), ANA
    ),
    'an unknown BSUID with the phone of somebody with another one': Case(
        HER_ID | HER_PHONE, claim(user=UNKNOWN, phone=OLD, at=AFTER), None
    ),
    'a parent BSUID without a BSUID': Case(
        HER_ID | {('parent', 'US.ENT.1'): (ANA, None)}, claim(parent='US.ENT.1'), ANA
    ),
    'a parent BSUID with an unknown BSUID': Case(
        HER_ID | {('parent', 'US.ENT.1'): (ANA, None)}, claim(user=HIS, parent='US.ENT.1'), None
    ),
    # Two conversations.
    'her BSUID with the phone of somebody without one unites them': Case(
        HER_ID | HIS_PHONE, claim(user=HERS, phone=OLD, at=AFTER), ANA, [(BEN, ANA, False)]
    ),
    'her BSUID with the phone of somebody with another one does not': Case(
        HER_ID | HIS_ID | HIS_PHONE, claim(user=HERS, phone=OLD, at=AFTER), ANA
    ),
    'two BSUIDs of one person unite them, the younger into the older': Case(
        HER_ID | HIS_ID, change((USER, HERS), user=HIS, at=AFTER), ANA, [(BEN, ANA, True)]
    ),
    'a phone and a parent BSUID of two without BSUIDs unite them': Case(
        HIS_PHONE | {('parent', 'US.ENT.1'): (ANA, None)},
        claim(parent='US.ENT.1', phone=OLD, at=AFTER),
        ANA,
        [(BEN, ANA, False)],
    ),
    'a parent BSUID of one without a BSUID, and the phone of one with it, unite them': Case(
        HIS_ID | HIS_PHONE | {('parent', 'US.ENT.1'): (ANA, None)},
        claim(parent='US.ENT.1', phone=OLD, at=AFTER),
        BEN,
        [(ANA, BEN, False)],
    ),
    'the same with an unknown BSUID: the phone is of somebody else': Case(
        HIS_ID | HIS_PHONE | {('parent', 'US.ENT.1'): (ANA, None)},
        claim(user=UNKNOWN, parent='US.ENT.1', phone=OLD, at=AFTER),
        ANA,
    ),
    'the same of two with BSUIDs does not unite them': Case(
        HER_ID | HIS_ID | HIS_PHONE | {('parent', 'US.ENT.1'): (ANA, None)},
        claim(parent='US.ENT.1', phone=OLD, at=AFTER),
        ANA,
    ),
    'an unknown BSUID beside hers changes nothing': Case(
        HER_ID, claim(user=HERS, other_ids=(PersonId(USER, UNKNOWN),)), ANA
    ),
    # Another form of the same number.
    'another form of a phone leads to its owner': Case(
        {(PHONE, SHORT): (ANA, None)}, claim(phone=LONG), ANA
    ),
    'the phone itself goes before another form of it': Case(
        {(PHONE, SHORT): (ANA, None), (PHONE, LONG): (BEN, None)}, claim(phone=LONG), BEN
    ),
    # A phone that changed hands.
    'before the handover it was hers': Case(
        HIS_ID | WAS_HERS | IS_HIS_SINCE, claim(phone=OLD, at=BEFORE), ANA
    ),
    'after the handover it is his': Case(
        HIS_ID | WAS_HERS | IS_HIS_SINCE, claim(phone=OLD, at=AFTER), BEN
    ),
    'in the second of the handover it is his': Case(
        HIS_ID | WAS_HERS | IS_HIS_SINCE, claim(phone=OLD, at=HANDOVER), BEN
    ),
    'in that second it is hers while nobody has it': Case(
        WAS_HERS, claim(phone=OLD, at=HANDOVER), ANA
    ),
    "after that second it is nobody's": Case(WAS_HERS, claim(phone=OLD, at=AFTER), None),
    "in that second it is a new BSUID's": Case(
        HER_ID | WAS_HERS, claim(user=UNKNOWN, phone=OLD, at=HANDOVER), None
    ),
    'the news of the handover, told again, are hers': Case(
        HER_ID | WAS_HERS, change((PHONE, OLD), phone=NEW, at=HANDOVER), ANA
    ),
    'her BSUID and the phone that is hers now have nothing to do with its past': Case(
        HER_ID | HER_PHONE | {(PREVIOUS_PHONE, OLD): (BEN, HANDOVER)},
        claim(user=HERS, phone=OLD, at=BEFORE),
        ANA,
    ),
    'after the handover it leads an unknown BSUID to him': Case(
        WAS_HERS | IS_HIS_SINCE, claim(user=UNKNOWN, phone=OLD, at=AFTER), BEN
    ),
    'with an unknown BSUID and without a time it is ambiguous': Case(
        WAS_HERS | IS_HIS_SINCE, claim(user=UNKNOWN, phone=OLD), None
    ),
    'without both it is of whoever has it': Case(WAS_HERS | IS_HIS_SINCE, claim(phone=OLD), BEN),
    # A BSUID in whose place another one stands.
    'a superseded BSUID leads to the phone of before': Case(
        {(SUPERSEDED, UNKNOWN): (BEN, HANDOVER)} | HER_PHONE,
        claim(user=UNKNOWN, phone=OLD, at=AFTER),
        ANA,
    ),
    'a superseded BSUID does not lead to a phone seen since': Case(
        {(SUPERSEDED, UNKNOWN): (BEN, HANDOVER), (PHONE, OLD): (ANA, AFTER)},
        claim(user=UNKNOWN, phone=OLD, at=AFTER),
        None,
    ),
    # News of a changed number.
    'a change with her old phone': Case(
        HER_ID | HER_PHONE, change((PHONE, OLD), user=UNKNOWN, phone=NEW, at=HANDOVER), ANA
    ),
    'a change with an old phone of somebody with another BSUID than the one of before': Case(
        HIS_ID | HIS_PHONE,
        change((USER, HERS), (PHONE, OLD), user=UNKNOWN, phone=NEW, at=HANDOVER),
        None,
    ),
    'a change with an old phone that somebody was seen with since': Case(
        HIS_ID | {(PHONE, OLD): (BEN, AFTER)},
        change((PHONE, OLD), user=UNKNOWN, phone=NEW, at=HANDOVER),
        None,
    ),
    "a change with a new phone that was somebody else's before": Case(
        {(PHONE, NEW): (BEN, BEFORE)}, change((PHONE, OLD), phone=NEW, at=HANDOVER), None
    ),
    'a change with a new phone that somebody was seen with since': Case(
        {(PHONE, NEW): (ANA, AFTER)}, change((PHONE, OLD), phone=NEW, at=HANDOVER), ANA
    ),
    # A status of a message of ours.
    'a status of ids that nobody knows is of the addressee': Case(
        {}, claim(user=HERS, message_id='m', updates_only=True), ANA, sent_to=ANA
    ),
    "a status with another BSUID than the addressee's is not": Case(
        HER_ID, claim(user=UNKNOWN, message_id='m', updates_only=True), None, sent_to=ANA
    ),
    'a status of ids that are known is of their owner': Case(
        HIS_ID, claim(user=HIS, message_id='m', updates_only=True), BEN, sent_to=ANA
    ),
}


def resolution_of(known: Known, sent_to: str | None = None) -> Resolution:
    return Resolution(
        owners={
            Key('acme', *key): IdentityOwner('acme', *key, conversation_id, at)
            for key, (conversation_id, at) in known.items()
        },
        with_bsuid={who for (kind, _), (who, _) in known.items() if kind == USER},
        addressees={('acme', 'm'): sent_to} if sent_to else {},
        ids_before={},
    )


@pytest.mark.parametrize('name', CASES)
def test_a_claim_means(name):
    case = CASES[name]
    resolution = resolution_of(case.known, case.sent_to)
    assert IdentityMatcher(resolution).find(case.claim) == case.means
    assert resolution.merges == [
        Merge('acme', source, target, is_certain, 'message')
        for source, target, is_certain in case.merges
    ]
    changed = [*resolution.moved, *resolution.freed, *resolution.touched]
    assert changed == []


NEWCOMER = {'user': UNKNOWN, 'phone': OLD}
NEW_OWNERS = {
    'a later BSUID': (HIS_PHONE, claim(**NEWCOMER, at=AFTER), True),
    'a BSUID without a time': (HIS_PHONE, claim(**NEWCOMER), False),
    'an earlier BSUID': (IS_HIS_SINCE, claim(**NEWCOMER, at=BEFORE), False),
    'a phone alone': (HIS_PHONE, claim(phone=OLD, at=AFTER), False),
    "a phone that is nobody's": ({}, claim(**NEWCOMER, at=AFTER), False),
    'no phone': (HIS_PHONE, claim(user=UNKNOWN, at=AFTER), False),
    'a BSUID of before a handover': (HIS_PHONE | WAS_HERS, claim(**NEWCOMER, at=HANDOVER), False),
    'a superseded BSUID': (
        HIS_PHONE | {(SUPERSEDED, UNKNOWN): (ANA, BEFORE)},
        claim(**NEWCOMER, at=AFTER),
        False,
    ),
    'what somebody gives up': (HIS_PHONE, change((PHONE, OLD), **NEWCOMER, at=AFTER), False),
}


@pytest.mark.parametrize('name', NEW_OWNERS)
def test_the_phone_of_somebody_else_is_taken_by(name):
    known, told, is_new_owner = NEW_OWNERS[name]
    assert IdentityMatcher(resolution_of(known)).is_new_owner(told) is is_new_owner


@pytest.mark.parametrize(
    ('at', 'seen_at', 'takes'),
    [
        (AFTER, HANDOVER, True),
        (HANDOVER, HANDOVER, True),
        (BEFORE, HANDOVER, False),
        (BEFORE, None, True),
        (None, HANDOVER, False),
        (None, None, False),
    ],
)
def test_the_later_claim_takes_a_phone_over(at, seen_at, takes):
    assert takes_over(claim(phone=OLD, at=at), owner(seen_at)) is takes


PHONE_ALONE = {'phone': OLD}
WITH_BSUID = {'phone': OLD, 'user': UNKNOWN}
CHANGED = {'phone': NEW, 'is_change': True, 'other_ids': (PersonId(PHONE, OLD),)}


@pytest.mark.parametrize(
    ('told', 'has_owner', 'before_in_and_after'),
    [
        (PHONE_ALONE, True, (True, False, False)),
        (PHONE_ALONE, False, (True, True, False)),
        (WITH_BSUID, True, (True, False, False)),
        (WITH_BSUID, False, (True, False, False)),
        (CHANGED, True, (True, True, False)),
        (CHANGED, False, (True, True, False)),
    ],
)
def test_a_claim_is_about_the_previous_owner(told, has_owner, before_in_and_after):
    current = BEN if has_owner else None
    about = [
        is_about_previous(claim(at=at, **told), owner(HANDOVER), current)
        for at in (BEFORE, HANDOVER, AFTER)
    ]
    assert tuple(about) == before_in_and_after
    assert not is_about_previous(claim(**told), owner(HANDOVER), current)


@pytest.mark.parametrize(
    ('told', 'has_owner', 'before_in_after_and_untimed'),
    [
        (PHONE_ALONE, True, (True, False, False, False)),
        (PHONE_ALONE, False, (True, True, False, False)),
        (WITH_BSUID, True, (True, True, False, True)),
        (WITH_BSUID, False, (True, True, False, True)),
        (CHANGED, True, (True, True, False, True)),
    ],
)
def test_a_claim_of_before_the_handover_gives_no_right(
    told, has_owner, before_in_after_and_untimed
):
    outdated = [
        is_before_handover(claim(at=at, **told), owner(HANDOVER), has_owner)
        for at in (BEFORE, HANDOVER, AFTER, None)
    ]
    assert tuple(outdated) == before_in_after_and_untimed


@pytest.mark.parametrize(
    ('phone', 'seen_before_in_after_and_never'),
    [(OLD, (True, True, False, True)), (NEW, (False, True, True, False))],
)
def test_of_a_change_the_old_phone_was_theirs_and_the_new_one_is(
    phone, seen_before_in_after_and_never
):
    told = claim(at=HANDOVER, **CHANGED)
    key = Key('acme', PHONE, phone)
    fits = [fits_change(told, key, owner(seen_at)) for seen_at in (BEFORE, HANDOVER, AFTER, None)]
    assert tuple(fits) == seen_before_in_after_and_never


def test_keys_of_a_claim():
    told = change((PHONE, OLD), (USER, HERS), user=HIS, phone=NEW, parent='US.ENT.1')
    kinds = [(key.kind, key.value) for key in told.keys]
    assert kinds == [
        (USER, HIS),
        ('parent', 'US.ENT.1'),
        (PHONE, NEW),
        (PHONE, OLD),
        (USER, HERS),
    ]
    assert [key.value for key in told.permanent_keys()] == [HIS, HERS]
    assert [key.value for key in told.transferable_keys()] == [OLD, 'US.ENT.1', NEW]
    assert told.gives_up(Key('acme', PHONE, OLD))
    assert not told.gives_up(Key('acme', PHONE, NEW))
    assert not claim(phone=NEW, other_ids=(PersonId(PHONE, OLD),)).gives_up(Key('acme', PHONE, OLD))
    assert [key.value for key in Key('acme', PHONE, LONG).variants()] == [SHORT]
    assert Key('acme', USER, HIS).variants() == []
