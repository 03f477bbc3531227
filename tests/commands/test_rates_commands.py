"""`flask rates load` and `show`."""

from service.billing import rate_card
from tests.people import CHATBOT, sql

HEAD = ','.join(rate_card.COLUMNS)


def test_the_packaged_card_holds_until_another_is_loaded(answer, run, tmp_path):
    packaged = answer('rates', 'show')['data']
    assert {row['currency'] for row in packaged} == {'USD'}
    brazil = answer('rates', 'show', '--market', 'BR')['data']
    assert {row['category']: row['price'] for row in brazil} == {
        'marketing': 0.0625,
        'utility': 0.0068,
        'authentication': 0.0068,
        'service': 0.0068,
    }
    file = tmp_path / 'rates.csv'
    file.write_text(f'\ufeff{HEAD}\r\nBR,utility,1,,2026-01-01,,EUR,0.0123,an offer\r\n')
    assert answer('rates', 'load', file) == {'rates': 1, 'currency': 'EUR'}
    (shown,) = answer('rates', 'show')['data']
    assert (shown['price'], shown['source'], shown['tier_to']) == (0.0123, 'an offer', None)
    assert 'BR' in run('rates', 'show').stdout


def test_a_file_that_is_not_valid_changes_nothing_and_names_every_line(answer, run, tmp_path):
    file = tmp_path / 'rates.csv'
    file.write_text(f'{HEAD}\nBR,utility,1,,2026-01-01,,EUR,0.01,x\nXX1,utility,1,,x,,EUR,a,\n')
    done = run('rates', 'load', file)
    assert done.exit_code == 1
    assert 'line 3: market must be' in done.stderr
    assert sql('SELECT count(*) FROM rate') == [(0,)]
    refused = answer('rates', 'load', file, code=1)
    assert (refused['code'], [*refused['errors']]) == ('invalid', ['line 3'])


def test_the_packaged_card_is_itself_a_file_that_can_be_loaded(answer, backend):
    assert answer('rates', 'load', rate_card.PACKAGED)['rates'] == len(rate_card.packaged().rates)
    again = answer('rates', 'load', rate_card.PACKAGED)
    assert again['currency'] == 'USD'
    backend.account()
    assert backend.get(f'/usage?chatbot_id={CHATBOT}').json['data'] == []
