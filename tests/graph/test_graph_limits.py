"""What a call to Meta may cost: GRAPH_TIMEOUT bounds all of it, and no answer is larger than it may
be.
"""

import gzip
import json
import time
import tracemalloc

import pytest

from service.graph import connections
from service.graph.connections import MAX_ANSWER
from service.runtime.deadline import TimedSocket
from tests.content.test_media_types import sample
from tests.files import CONTENT, comes_in, media_message, media_row
from tests.media.test_uploads import upload
from tests.own_service import Platform
from tests.people import CHATBOT, sql
from tests.raw_server import RawServer, drips, silent

LIMIT, ENOUGH = 0.6, 15  # seconds: of a call; a drip without a limit goes on for longer than this
WABA = '880011223344556'
OK = b'HTTP/1.1 200 OK\r\n'
SLOW = {
    'silence': silent,
    'a head in drops': drips(OK + b'X: ', b'x'),
    'headers without end': drips(OK, b'X: x\r\n'),
    'one 100 after another': drips(b'', b'HTTP/1.1 100 Continue\r\n\r\n'),
    'one 103 after another': drips(b'', b'HTTP/1.1 103 Early Hints\r\n\r\n'),
    'a body in drops': drips(OK + b'Content-Length: 100000\r\n\r\n', b' '),
    'chunks in drops': drips(OK + b'Transfer-Encoding: chunked\r\n\r\n', b'1\r\n \r\n'),
    'a body without an end': drips(OK + b'\r\n', b' '),
}


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def meta_says(setting):
    """meta_says(behave): whatever is asked of Meta, this is how its server behaves from now on."""
    servers = []

    def start(behave):
        servers.append(RawServer(behave).__enter__())
        setting('GRAPH_API_URL', f'http://127.0.0.1:{servers[-1].port}')
        setting('GRAPH_TIMEOUT', LIMIT)

    yield start
    for server in servers:
        server.__exit__()


def in_time(do):
    began = time.monotonic()
    result = do()
    assert time.monotonic() - began < ENOUGH
    return result


@pytest.mark.parametrize('kind', SLOW)
def test_a_send_ends_in_time_and_its_message_is_unknown(acme, workers, meta_says, kind):
    meta_says(SLOW[kind])
    sent = acme.send()
    in_time(workers.send)
    message = acme.message(sent['id'])
    assert message['status'] == 'unknown'
    assert message['error']['title'].startswith('No answer from Meta')


@pytest.mark.parametrize('kind', SLOW)
def test_an_errand_ends_in_time_and_is_tried_again(acme, meta, workers, meta_says, kind):
    """A receipt is told, a file asked for, a list of templates read: each by a thread of its own
    kind.
    """
    acme.account(waba_id=WABA)
    comes_in(meta, workers, media_message('77', content=CONTENT))
    acme.post(f'/messages/{acme.messages()[0]["id"]}/read')
    meta_says(SLOW[kind])
    in_time(workers.errands)
    assert sql('SELECT attempts, told_at, due_at > now() FROM read_receipt') == [(1, None, True)]
    assert sql('SELECT attempts, due_at > now(), synced_at FROM template_sync') == [(1, True, None)]
    assert media_row()[:2] == ('fetching', 1)


@pytest.mark.parametrize('kind', SLOW)
def test_a_template_is_made_in_time_or_503(acme, meta_says, kind):
    acme.account(waba_id=WABA)
    meta_says(SLOW[kind])
    template = {
        'name': 'hi',
        'language': 'en',
        'category': 'UTILITY',
        'components': [{'type': 'BODY', 'text': 'Hi'}],
    }
    answer = in_time(lambda: acme.post('/templates', {'chatbot_id': CHATBOT, **template}))
    assert answer.status_code == 503, answer.text


@pytest.mark.parametrize('kind', SLOW)
def test_an_upload_ends_in_time_and_its_message_is_tried_again(acme, workers, meta_says, kind):
    media_id = upload(acme, sample('photo.jpg'), 'a.jpg').json['id']
    meta_says(SLOW[kind])
    sent = acme.post(
        '/send',
        {'chatbot_id': CHATBOT, 'to': '+12025550143', 'type': 'image', 'image': {'id': media_id}},
    )
    in_time(workers.send)
    message = acme.message(sent.json['id'])
    assert (message['status'], message['attempts']) == ('queued', 1)


# ---- files: as long as their size needs


@pytest.fixture
def rate(monkeypatch):
    monkeypatch.setattr(connections, 'MIN_RATE', 1000)


def in_pieces(handler):
    """Nine pieces within 1.8 s: longer than GRAPH_TIMEOUT, but faster than a file has to be."""
    handler.send_response(200)
    handler.send_header('Content-Length', '1800')
    handler.end_headers()
    for _ in range(9):
        handler.wfile.write(b'x' * 200)
        time.sleep(0.2)


def test_a_file_may_take_as_long_as_its_size_needs(acme, meta, workers, file_server, rate):
    file_server.describe(file_size=1800, sha256=None)
    file_server.says['/file'] = in_pieces
    comes_in(meta, workers, media_message('77'))
    workers.errands()
    assert media_row()[:2] == ('stored', 1)


@pytest.mark.parametrize('length', ['100000', None])
def test_a_file_that_drips_is_left_and_tried_again(acme, meta, workers, file_server, rate, length):
    file_server.describe(file_size=None, sha256=None)
    file_server.says['/file'] = dripping(length)
    comes_in(meta, workers, media_message('77'))
    in_time(workers.errands)
    status, attempts, error, _ = media_row()
    assert (status, attempts) == ('fetching', 1)
    assert error['title'].startswith('The file came too slowly')


def dripping(length):
    def behave(handler):
        handler.send_response(200)
        handler.send_header('Content-Length', length) if length else handler.send_header(
            'Connection', 'close'
        )
        handler.end_headers()
        for _ in range(600):
            handler.wfile.write(b'x')
            time.sleep(0.1)

    return behave


def test_a_file_of_any_size_has_a_most(monkeypatch, database):
    assert connections.seconds_for(0) == 5
    assert connections.seconds_for(2**20) == 5 + 32
    assert connections.seconds_for(10**9) == connections.SLOWEST


# ---- size


@pytest.fixture
def graph(setting):
    with Platform() as platform:
        setting('GRAPH_API_URL', platform.url)
        yield platform


def padded(length, answer):
    raw = json.dumps(answer).encode()
    return raw[:-1] + b' ' * (length - len(raw)) + b'}'


ACCEPTED = {'messages': [{'id': 'wamid.X'}]}


def test_an_answer_may_have_a_megabyte(acme, workers, graph):
    graph.answer(200, padded(MAX_ANSWER, ACCEPTED))
    sent = acme.send()
    workers.send()
    assert acme.message(sent['id'])['status'] == 'accepted'


BOMBS = {
    'long': (padded(MAX_ANSWER + 1, ACCEPTED), {}),
    'gzip': (gzip.compress(padded(200 * 2**20, ACCEPTED), 9), {'Content-Encoding': 'gzip'}),
    'br': (b'\x00' * 1000, {'Content-Encoding': 'br'}),
}


@pytest.mark.parametrize('kind', BOMBS)
def test_more_than_that_is_no_answer_and_costs_no_memory(acme, workers, graph, kind):
    body, headers = BOMBS[kind]
    graph.answer(200, body, **headers)
    sent = acme.send()
    tracemalloc.start()
    try:
        workers.send()
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()
    message = acme.message(sent['id'])
    assert message['status'] == 'unknown'
    assert message['error']['title'].startswith('Meta answered ')


def cut_off(connection):
    connection.recv(65536)
    answer = json.dumps(ACCEPTED).encode()
    connection.sendall(OK + b'Content-Length: %d\r\n\r\n%s' % (len(answer) + 1, answer))
    connection.close()


def test_an_answer_that_is_cut_off_is_none(acme, workers, meta_says):
    meta_says(cut_off)
    sent = acme.send()
    workers.send()
    assert acme.message(sent['id'])['error']['title'] == 'No answer from Meta (ProtocolError)'


def test_head_and_body_of_a_call_leave_together(acme, workers, graph, monkeypatch):
    left, sendall = [], TimedSocket.sendall
    monkeypatch.setattr(
        TimedSocket, 'sendall', lambda sock, data: left.append(bytes(data)) or sendall(sock, data)
    )
    graph.answer(200, ACCEPTED)
    acme.send(text='Together')
    workers.send()
    assert [data.startswith(b'POST') and b'Together' in data for data in left] == [True]


def test_a_compressed_answer_is_read(acme, workers, graph):
    graph.answer(200, gzip.compress(json.dumps(ACCEPTED).encode()), **{'Content-Encoding': 'gzip'})
    sent = acme.send()
    workers.send()
    assert acme.message(sent['id'])['status'] == 'accepted'


def test_json_that_is_nested_without_end_is_no_answer(acme, meta, workers, graph):
    graph.answer(200, b'[' * 100000)
    sent = acme.send()
    workers.send()
    assert acme.message(sent['id'])['error']['title'] == 'Meta answered without a message id'


def test_a_header_that_is_nested_without_end_says_nothing(acme, meta, workers, graph):
    error = {'error': {'message': '(#131008) Required parameter is missing', 'code': 131008}}
    graph.answer(400, error, **{'X-Business-Use-Case-Usage': '{"1": ' + '[' * 20_000})
    sent = acme.send()
    workers.send()
    assert acme.message(sent['id'])['error']['code'] == 131008


def test_a_list_of_templates_has_a_size(acme, workers, file_server, monkeypatch):
    monkeypatch.setattr('service.graph.management_client.LARGEST_LIST', 1000)
    file_server.says[f'/v26.0/{WABA}/message_templates'] = 200, {}, padded(1001, {'data': []})
    acme.account(waba_id=WABA)
    workers.errands()
    assert sql("SELECT error ->> 'title' FROM template_sync") == [
        ('Meta answered more than 1,000 bytes',)
    ]


@pytest.mark.parametrize('length', ['x', '-1', '99999999999999999999'])
def test_an_odd_content_length_of_a_file_is_no_fault_of_ours(
    acme, meta, workers, file_server, length
):
    file_server.says['/file'] = 200, {'Content-Length': length}, CONTENT
    comes_in(meta, workers, media_message('77'))
    in_time(workers.errands)
    assert (media_row()[2] or {}).get('title', '').find('internal error') == -1
