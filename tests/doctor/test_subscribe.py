"""`flask subscribe`: the app hears of the account's WABA, and an override stays."""

import json

import pytest

from tests.people import CHATBOT


@pytest.fixture
def run(application):
    return lambda *words: application.test_cli_runner().invoke(args=['subscribe', *words])


def test_it_mends_what_the_doctor_has_found_once(healthy, run):
    healthy.stand_in.config(subscribed_apps=['11223344'])
    assert healthy.find()['subscribed']['fix'] == f'flask subscribe {CHATBOT}'
    answer = run(CHATBOT)
    assert answer.exit_code == 0
    assert answer.stdout == ('App 670843887433847 is now subscribed to the WABA 880011223344556.\n')
    assert healthy.find()['subscribed']['result'] == 'ok'
    assert healthy.stand_in.get('/config')['subscribed_apps'] == ['11223344', '670843887433847']
    again = run(CHATBOT, '--json')
    assert (again.exit_code, json.loads(again.stdout)['changed']) == (0, False)


def test_an_override_of_the_callback_stays(healthy, run):
    """A subscription that is made anew takes it away, so that one which stands is left alone."""
    override = {'whatsapp_business_account': 'https://x.example/whatsapp-cloud/webhook'}
    healthy.stand_in.config(number_facts={'webhook_configuration': override})
    assert 'was subscribed already' in run(CHATBOT).stdout
    assert 'x.example' in healthy.find()['callback']['detail']


def test_what_it_cannot_do_it_says(healthy, run):
    answer = run('nobody')
    assert (answer.exit_code, answer.stderr) == (1, 'Error: There is no chatbot "nobody".\n')
    healthy.stand_in.config(tokens=['another'])
    answer = run(CHATBOT)
    assert answer.exit_code == 1
    assert answer.stderr.startswith('Error: Meta: ')
    healthy.backend.account(waba_id=None)
    answer = run(CHATBOT)
    assert 'has no waba_id' in answer.stderr
