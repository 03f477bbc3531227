"""Where a file is fetched from: the address that came with it, a fresh one, and never anybody's but
Meta's.
"""

import pytest

from service.graph.media_client import MediaClient
from tests.files import CONTENT, FileServer, at_meta, attempts, comes_in, media_message, media_row
from tests.people import CHATBOT, sql


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


def test_an_address_in_the_webhook_saves_a_call(meta, workers, file_server):
    comes_in(meta, workers, media_message('77', content=CONTENT, url=f'{file_server.url}/file'))
    workers.errands()
    assert (media_row()[0], file_server.paths()) == ('stored', ['/file'])
    assert file_server.asked[0][1]['Authorization'] == f'Bearer token-of-{CHATBOT}'
    assert file_server.asked[0][1]['User-Agent'].startswith('whatsapp-gateway/')


@pytest.mark.parametrize('status', [401, 403, 404, 500])
def test_one_that_does_not_work_is_replaced_at_once(meta, workers, file_server, status):
    file_server.says['/old'] = status, {}, b''
    comes_in(meta, workers, media_message('77', content=CONTENT, url=f'{file_server.url}/old'))
    workers.errands()
    assert (media_row()[:2], file_server.paths()) == (('stored', 1), ['/old', '/v26.0/77', '/file'])


def test_one_from_long_ago_is_not_tried(meta, workers, file_server):
    comes_in(meta, workers, media_message('77', url=f'{file_server.url}/old'))
    sql("UPDATE media SET created_at = now() - interval '5 minutes'")
    workers.errands()
    assert (media_row()[0], file_server.paths()) == ('stored', ['/v26.0/77', '/file'])


@pytest.mark.parametrize(
    'url',
    ['http://169.254.169.254/x', 'file:///etc/passwd', 'https://evil.test/', 'x', '//', '\x00'],
)
def test_an_address_that_is_not_metas_is_never_asked(meta, workers, file_server, url):
    comes_in(meta, workers, media_message('77', url=url))
    workers.errands()
    assert (media_row()[0], file_server.paths()) == ('stored', ['/v26.0/77', '/file'])


def test_a_404_is_answered_with_a_fresh_address_once_then_tried_later(meta, workers, file_server):
    del file_server.says['/file']
    comes_in(meta, workers, media_message('77'))
    workers.errands()
    assert file_server.paths() == ['/v26.0/77', '/file'] * 2
    status, tried, error, wait = media_row()
    assert (status, tried, error['title']) == ('fetching', 1, 'Meta answered HTTP 404 for the file')
    assert 0 < wait <= 2


def test_an_address_that_expired_is_replaced(acme, meta, workers, stand_in):
    stand_in.config(media_url_ttl=0.0)
    comes_in(meta, workers, media_message(at_meta(stand_in)))
    workers.errands()
    assert media_row()[0] == 'fetching'
    stand_in.config(media_url_ttl=300.0)
    assert attempts(workers, 1)[0] == 'stored'


def test_the_token_goes_along_with_metas_own_redirects_alone(meta, workers, file_server):
    file_server.says['/file'] = 302, {'Location': '/moved'}, b''
    file_server.says['/moved'] = 200, {}, CONTENT
    comes_in(meta, workers, media_message('77'))
    workers.errands()
    assert media_row()[0] == 'stored'
    assert file_server.asked[-1][1]['Authorization'] == f'Bearer token-of-{CHATBOT}'


def test_a_redirect_to_elsewhere_is_not_followed(meta, workers, file_server):
    with FileServer(CONTENT) as elsewhere:
        file_server.says['/file'] = 302, {'Location': f'{elsewhere.url}/file'}, b''
        comes_in(meta, workers, media_message('77'))
        workers.errands()
        assert (media_row()[0], elsewhere.asked) == ('fetching', [])
        assert media_row()[2]['title'] == 'The address of the file is not at Meta'


@pytest.mark.parametrize(
    ('url', 'is_metas'),
    [
        ('https://lookaside.fbsbx.com/a?b', True),
        ('https://scontent.whatsapp.net/x', True),
        ('https://x.fbcdn.net:443/', True),
        ('http://lookaside.fbsbx.com/a', False),
        ('https://evilfbsbx.com/', False),
        ('https://fbsbx.com.evil.test/', False),
        ('https://fbsbx.com@evil.test/', False),
        ('https://x.fbcdn.net:8443/', False),
        ('https://evil.test#.fbsbx.com', False),
        ('http://127.0.0.1:1/', False),
        ('https://evil.test\\.fbsbx.com/', False),
        ('', False),
        ('https://[::1', False),
    ],
)
def test_what_counts_as_metas(file_server, url, is_metas):
    assert MediaClient(1).is_metas(url) is is_metas
