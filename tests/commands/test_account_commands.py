"""`flask account …`, by the same checks as the HTTP API."""

import pytest

from tests.people import CHATBOT, sql
from tests.stack import PHONE_NUMBER_ID

ADD = ('account', 'add', CHATBOT, '--phone-number-id', PHONE_NUMBER_ID, '--no-responder')


def test_an_account_is_as_the_api_shows_it(answer, backend):
    added = answer(*ADD, '--name', 'Acme', '--max-mps', 20, input='EAAB-token\n')
    shown = backend.get(f'/account/{CHATBOT}').json
    assert (added, answer('account', 'show', CHATBOT)) == (shown, shown)
    assert (shown['name'], shown['max_mps'], shown['responder']['kind']) == ('Acme', 20, 'none')
    listed = backend.get('/accounts').json
    assert answer('account', 'list') == listed
    assert len(listed['data']) == 1


@pytest.mark.parametrize('is_piped', [True, False])
def test_secrets_come_by_a_pipe_or_the_environment_and_are_never_shown(
    run, backend, monkeypatch, is_piped
):
    secrets = {'ACCESS_TOKEN': 'EAAB1', 'APP_SECRET': 'a1b2', 'VERIFY_TOKEN': 'a-word'}
    if not is_piped:
        for name, value in secrets.items():
            monkeypatch.setenv(f'ACCOUNT_{name}', value)
    lines = ''.join(f'{value}\n' for value in secrets.values()) if is_piped else ''
    done = run(*ADD, '--app-secret', '--verify-token', input=lines)
    assert done.exit_code == 0, done.output
    assert not any(value in done.output for value in secrets.values())
    account = backend.get(f'/account/{CHATBOT}').json
    assert account['has_access_token']
    assert account['has_app_secret']
    assert account['has_webhook_verify_token']


def test_a_secret_is_no_argument(run):
    for words in (['--access-token=EAAB'], ['--access-token', 'EAAB']):
        done = run(*ADD, *words)
        assert done.exit_code == 2, done.output
    assert run(*ADD, input='').exit_code == 2
    assert sql('SELECT count(*) FROM whatsapp_cloud_account') == [(0,)]


def test_a_new_token_sends_what_was_held(run, answer, backend, workers, stand_in):
    backend.account(responder={'kind': 'none'})
    assert answer('account', 'deactivate', CHATBOT)['active'] is False
    shown = answer('account', 'set-token', CHATBOT, input='EAAB-new\n')
    assert (shown['active'], shown['send_state']) == (True, 'ok')
    unknown = run('account', 'set-token', 'nobody', input='EAAB-new\n')
    assert (unknown.exit_code, 'nobody' in unknown.stderr) == (1, True)


def test_a_refusal_is_the_one_of_the_api_on_stdout_and_told_on_stderr(run, answer, backend):
    words = [*ADD, '--max-mps', 5000]
    body = {'chatbot_id': CHATBOT, 'phone_number_id': '3', 'access_token': 'E', 'max_mps': 5000}
    problem = backend.post('/account', body).json
    assert answer(*words, input='EAAB\n', code=1) == problem
    done = run(*words, input='EAAB\n')
    assert (done.exit_code, done.stdout) == (1, '')
    assert '  max_mps: ' in done.stderr


def test_a_table_names_its_columns_and_shows_what_is_not_there_as_a_dash(run, backend):
    backend.account()
    head, row = run('account', 'list').stdout.splitlines()
    assert head.split() == ['chatbot_id', 'phone_number_id', 'name', 'active', 'send_state']
    assert row.split() == [CHATBOT, PHONE_NUMBER_ID, '-', 'yes', 'ok']


def test_lists_go_over_all_their_pages(answer, backend):
    for number in range(205):
        backend.account(f'bot-{number}', f'3001{number}')
    assert len(answer('account', 'list')['data']) == 205
    first = answer('account', 'list', '--limit', 3)
    assert (len(first['data']), first['next_cursor']) == (3, first['data'][-1]['chatbot_id'])
