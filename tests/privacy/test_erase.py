"""One person is erased: nothing of them is anywhere, and everything of the others is there."""

from tests.privacy.life import OMAR, ZOE, places_of


def test_after_an_erase_nothing_of_the_person_is_kept_anywhere(lived, backend, capsys):
    assert places_of(ZOE.marks()).keys() == set(ZOE.marks())
    others = places_of(OMAR.marks())
    answer = backend.request('DELETE', f'/contacts/{lived[ZOE.word]}')
    assert answer.status_code == 200, answer.text
    assert places_of(ZOE.marks()) == {}
    assert places_of(OMAR.marks()) == others
    output = capsys.readouterr().out
    assert [mark for mark in ZOE.marks() if mark in output] == []
