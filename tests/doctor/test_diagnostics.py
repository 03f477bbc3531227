"""GET /account/<chatbot_id>/diagnostics: who sees what."""

from service.web import diagnostics
from tests.web.tenants import backend_of


def test_a_root_key_sees_the_gateways_checks_and_another_key_their_sum(backend):
    backend.account()
    answer = backend.get('/account/acme/diagnostics')
    assert answer.status_code == 200
    names = [check['check'] for check in answer.json['checks']]
    assert {'database', 'schema', 'redis', 'workers', 'responder', 'webhook_seen'} <= set(names)
    found = {check['check']: check for check in answer.json['checks']}
    assert found['database']['result'] == found['media_storage']['result'] == 'ok'
    assert found['meta']['result'] == 'fail'  # nobody answers here
    assert answer.json['ok'] is False

    own = backend_of(backend, 'acme', scopes=['read']).get('/account/acme/diagnostics').json
    gateway = own['checks'][0]
    assert (gateway['check'], gateway['result']) == ('gateway', 'fail')
    assert gateway['detail'] == 'Not as it should be: workers.'
    assert {check['check'] for check in own['checks']} & set(names) == {
        'account', 'brakes', 'responder', 'webhook_seen', 'meta',
    }  # fmt: skip


def test_who_does_not_see_the_account_gets_a_404(backend):
    backend.account()
    other = backend_of(backend, 'other')
    assert other.get('/account/acme/diagnostics').status_code == 404
    assert backend.get('/account/nobody/diagnostics').status_code == 404


def test_few_are_looked_at_at_once(backend):
    backend.account()
    for _ in range(diagnostics.MAX_LOOKS):
        assert diagnostics.looks.acquire(blocking=False)
    try:
        answer = backend.get('/account/acme/diagnostics')
    finally:
        for _ in range(diagnostics.MAX_LOOKS):
            diagnostics.looks.release()
    assert (answer.status_code, answer.json['code']) == (429, 'too_many_requests')
    assert backend.get('/account/acme/diagnostics').status_code == 200
