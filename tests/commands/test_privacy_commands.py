"""`flask erase` and `flask retention run`."""

from tests.people import CHATBOT, CUSTOMER, sql


def test_a_person_is_erased_by_number_or_id_once_it_is_confirmed(run, answer, backend):
    backend.account()
    backend.send()
    asked = run('erase', CHATBOT, f'+{CUSTOMER}', input='n\n')
    assert (asked.exit_code, len(backend.messages())) == (1, 1)
    assert answer('erase', CHATBOT, f'+{CUSTOMER}', '--yes')['erased']['messages'] == 1
    sent = backend.send()
    assert '1 messages' in run('erase', CHATBOT, sent['conversation_id'], '--yes').stdout
    gone = answer('erase', CHATBOT, f'+{CUSTOMER}', '--yes', code=1)
    assert gone['code'] == 'not_found'


def test_another_chatbots_contact_is_none(answer, backend):
    backend.account()
    backend.account('other', '300112233445599')
    sent = backend.send()
    assert answer('erase', 'other', sent['conversation_id'], '--yes', code=1)['status'] == 404
    assert answer('erase', 'nobody', f'+{CUSTOMER}', '--yes', code=1)['code'] == 'unknown_chatbot'


def test_retention_runs_until_nothing_is_too_old(run, answer, backend):
    backend.account(retention={'text_days': 1})
    backend.send()
    assert answer('retention', 'run') == {'done': {}}
    assert run('retention', 'run').stdout == 'Nothing is too old.\n'
    sql('DELETE FROM message_search')
    sql(
        "UPDATE message SET id = '01900000-0000-7000-8000-000000000000', status = 'failed',"
        ' due_at = NULL'
    )
    assert answer('retention', 'run') == {'done': {'messages': 1, 'statuses': 1}}
