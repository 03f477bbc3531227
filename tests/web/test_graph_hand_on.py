"""The Graph door: what is no message is handed on to Meta, and its answer comes back as it is."""

import hashlib
import io
import json
import time
from contextlib import closing
from http.client import HTTPConnection
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import pytest
import requests

from service.web import graph_hand_on
from service.web.door import CALL_START, FILE_START, GRAPH_START
from tests.files import FileServer
from tests.people import WABA, envelope, sql, text_message
from tests.stack import PHONE_NUMBER_ID
from tests.web.graph_client import GraphClient
from tests.web.tenants import backend_of, fill, key_of

PICTURE = b'\x89PNG\r\n\x1a\n' + b'x' * 2000
TOKEN = 'token-of-acme'
OTHERS = '300199'


def at_meta(stand_in, path, method='GET', **options):
    """The same asked of Meta itself."""
    headers = {'Authorization': f'Bearer {TOKEN}'}
    url = f'{stand_in.url}/v26.0/{path}'
    return requests.request(method, url, headers=headers, timeout=30, **options)


def upload(graph, content=PICTURE, number=PHONE_NUMBER_ID, **options):
    kind = 'image/png'
    form = {'messaging_product': 'whatsapp', 'type': kind}
    files = {'file': ('photo.png', content, kind)}
    return graph.request('POST', f'{number}/media', data=form, files=files, **options)


READS = (
    f'{PHONE_NUMBER_ID}?fields=verified_name,quality_rating',
    f'{WABA}/message_templates?limit=3&fields=name',
    f'{PHONE_NUMBER_ID}/no_such_edge',
)


@pytest.mark.parametrize('path', READS)
def test_an_answer_is_metas_own(path, graph, stand_in):
    answer, expected = graph.request('GET', path), at_meta(stand_in, path)
    assert answer.status == expected.status_code
    assert without_trace(answer.json) == without_trace(expected.json())


def without_trace(body):
    """Of an error: each one has another fbtrace_id."""
    body.get('error', {}).pop('fbtrace_id', None)
    return body


def test_a_template_is_made_and_deleted(graph, stand_in):
    body = {
        'name': 'order_gone',
        'language': 'en_US',
        'category': 'UTILITY',
        'components': [{'type': 'BODY', 'text': 'Your order is ready.'}],
    }
    made = graph.request('POST', f'{WABA}/message_templates', json=body)
    assert made.status == 200, made.json
    due = 'SELECT due_at <= now() FROM template_sync WHERE waba_id = %s'
    assert sql(due, WABA) == [(True,)], 'they are read again'
    deleted = graph.request('DELETE', f'{WABA}/message_templates?name=order_gone')
    assert (deleted.status, deleted.json) == (200, {'success': True})


@pytest.mark.parametrize('size', [2000, 6_000_000])
def test_a_file_goes_to_meta_and_comes_back_through_the_door(size, graph, stand_in):
    content = PICTURE + b'y' * size
    uploaded = upload(graph, content)
    assert uploaded.status == 200, uploaded.json
    media_id = uploaded.json['id']
    assert media_id.isdigit()
    described = graph.request('GET', media_id)
    assert described.json['sha256'] == hashlib.sha256(content).hexdigest()
    assert described.json['url'] == f'{graph.url}/v26.0/{media_id}/content'
    file = requests.get(described.json['url'], headers=graph.headers, timeout=30)
    assert (file.status_code, file.content == content) == (200, True)
    assert file.headers['Content-Type'] == 'image/png'
    assert requests.get(described.json['url'], timeout=30).status_code == 401
    head = requests.head(described.json['url'], headers=graph.headers, timeout=30)
    assert (head.status_code, head.headers['Content-Length']) == (200, str(len(content)))
    assert graph.request('DELETE', media_id).json == {'success': True}
    assert graph.request('GET', media_id).json['error']['code'] == 100
    (seen,) = stand_in.get('/uploads')['data']
    assert (seen['number'], seen['size']) == (PHONE_NUMBER_ID, len(content))


def test_a_file_in_chunks_goes_with_its_length(graph, stand_in):
    raw, content_type = requests.models.RequestEncodingMixin._encode_files(
        {'file': ('photo.png', PICTURE, 'image/png')}, {'messaging_product': 'whatsapp'}
    )
    answer = graph.request(
        'POST',
        f'{PHONE_NUMBER_ID}/media',
        data=iter([raw[:500], raw[500:]]),
        headers={'Content-Type': content_type},
    )
    assert answer.status == 200, answer.json


def test_a_customers_file_is_found_by_its_id(graph, meta, workers, stand_in):
    """The webhook has told whose it is."""
    image = {'id': '4455', 'mime_type': 'image/png', 'sha256': 'x'}
    message = text_message() | {'type': 'image', 'image': image}
    meta.webhook(envelope([message]))
    workers.incoming()
    answer = graph.request('GET', '4455')
    assert without_trace(answer.json) == without_trace(at_meta(stand_in, '4455').json())


# ---- what Meta says


@pytest.fixture
def says(backend, setting):
    """says(status, headers, body): what Meta answers to the one call of the door; .asked."""
    with FileServer() as server:
        setting('GRAPH_API_URL', server.url)
        setting('GRAPH_TIMEOUT', 1)
        backend.account(waba_id=WABA, access_token='EAA/top"secret=')
        graph_hand_on._pass_through.cache_clear()  # it knows an earlier Meta

        def ask(answer, path=f'{WABA}/message_templates', prefix='/v26.0', **options):
            server.says[f'/v26.0/{path}'] = answer
            url = f'{prefix}/{path}'
            return backend.transport.get(url, headers=backend.headers, **options)

        ask.server = server
        yield ask
    graph_hand_on._pass_through.cache_clear()


SECRETS = ('EAA/top"secret=', 'EAA\\/top', 'EAA%2Ftop')


def test_the_token_never_leaves_and_pages_lead_through_the_door(says):
    page = f'{says.server.url}/v26.0/{WABA}/message_templates?access_token={{}}&after=abc'
    for token in ('EAA/top"secret=', quote('EAA/top"secret=', safe='')):
        for slash in ('/', r'\/'):
            body = json.dumps({'paging': {'next': page.format(token)}, 'token': token})
            body = body.replace('/', slash).encode()
            answer = says((200, {'Content-Type': 'application/json'}, body), prefix='/graph/v26.0')
            assert not [secret for secret in SECRETS if secret in answer.text], answer.text
            link = answer.json['paging']['next']
            assert link.startswith('http://localhost/graph/v26.0/')
            assert link.endswith('&after=abc')


def test_a_credential_in_the_query_is_not_handed_on(says):
    asked = []

    def note(handler):
        asked.append((handler.path, handler.headers['Authorization']))
        handler.answer(200, {}, b'{}')

    query = {'access_token': 'EAAG', 'limit': '2', 'appsecret_proof': 'x'}
    says(note, f'{WABA}/flows', query_string=query)
    assert asked == [(f'/v26.0/{WABA}/flows?limit=2', 'Bearer EAA/top"secret=')]
    refused = says(note, WABA, query_string={'ids': '1,2'})
    assert (refused.status_code, refused.json['error']['code']) == (400, 100)
    assert len(asked) == 1


ONE_OBJECT = {
    'a query in brackets': {'query_string': {'ids[0]': '1'}},
    'JSON': {'json': {'batch': [{'method': 'GET', 'relative_url': OTHERS}]}},
    'a form': {'data': {'limit': '1', 'ids': f'{WABA},{OTHERS}'}},
    'a form of no name': {'data': b'a=1&b%61tch=%5B%5D', 'content_type': 'text/plain'},
    'parts': {'data': {'batch': '[]'}, 'content_type': 'multipart/form-data'},
    'a part behind a file': {
        'data': {'file': (io.BytesIO(b'x' * (256 * 1024 - 220)), 'a'), 'batch': '[]'},
        'content_type': 'multipart/form-data',
    },
}


@pytest.mark.parametrize('given', ONE_OBJECT.values(), ids=ONE_OBJECT)
def test_a_call_is_about_one_object(given, says, backend):
    url, headers = f'/v26.0/{WABA}/message_templates', backend.headers
    answer = backend.transport.post(url, headers=headers, **given)
    assert (answer.status_code, answer.json['error']['code']) == (400, 100)
    assert says.server.asked == []


def test_the_token_leaves_in_no_header(says):
    headers = {'WWW-Authenticate': 'OAuth EAA/top"secret=', 'Retry-After': '7'}
    answer = says((401, headers, b'{"error": {"message": "No", "code": 190}}'))
    assert answer.status_code == 401
    assert not [value for value in answer.headers.values() if 'secret' in value]
    assert answer.headers['Retry-After'] == '7'


def test_a_key_sees_no_other_accounts_of_the_business(says, backend):
    tenant = backend_of(backend, 'acme', scopes=['send'])
    for fields in (
        'owner_business{owned_whatsapp_business_accounts{message_templates}}',
        'owner_business.fields(id)',
        'name,owner_business {id}',
    ):
        answer = says((200, {}, b'{}'), WABA, query_string={'fields': fields})
        assert answer.status_code == 200, 'a key of API_KEYS sees everything'
        url = f'/v26.0/{WABA}?fields={quote(fields)}'
        refused = backend.transport.get(url, headers=tenant.headers)
        assert (refused.status_code, refused.json['error']['code']) == (400, 100)
    url = f'/v26.0/{WABA}?fields=owner_business,owner_business_info,phone_numbers{{id}}'
    assert backend.transport.get(url, headers=tenant.headers).status_code == 200


def test_what_is_unknown_and_no_file_is_not_there_for_a_key(says, backend):
    """Meta looks at the number for files alone: a template of others would come as well."""
    tenant = backend_of(backend, 'acme', scopes=['send'])
    says.server.says['/v26.0/5577'] = 200, {}, b'{"id": "5577", "name": "theirs"}'
    url = f'/v26.0/5577?phone_number_id={PHONE_NUMBER_ID}'
    answer = backend.transport.get(url, headers=tenant.headers)
    assert (answer.status_code, answer.json['error']['code']) == (404, 100)
    assert 'theirs' not in answer.text
    assert backend.transport.get(url, headers=backend.headers).json['name'] == 'theirs'


def test_status_and_limits_of_meta_come_through_and_nothing_else(says):
    usage = json.dumps({WABA: [{'call_count': 100}]})
    headers = {'X-Business-Use-Case-Usage': usage, 'Retry-After': '7', 'Set-Cookie': 'a=b'}
    error = b'{"error": {"message": "Slow down",  "code": 4}}'
    answer = says((429, headers, error))
    assert (answer.status_code, answer.data) == (429, error)
    assert answer.headers['X-Business-Use-Case-Usage'] == usage
    assert answer.headers['Retry-After'] == '7'
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'
    assert 'Set-Cookie' not in answer.headers


def never(handler):
    time.sleep(3)


def too_much(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(5 * 16):
        handler.wfile.write(b' ' * 65536)


def test_what_is_no_address_of_metas_is_refused_in_its_form_too(graph):
    answer = graph.request('PUT', PHONE_NUMBER_ID)
    assert (answer.status, answer.json['error']['code']) == (405, 100)
    assert 'POST' in answer.headers['Allow']
    stranger = graph.request('PUT', PHONE_NUMBER_ID, headers={'Authorization': ''})
    assert (stranger.status, stranger.json['error']['code']) == (401, 190)


def test_a_doubled_slash_leads_nobody_from_https_to_http(graph):
    headers = {'X-Forwarded-Proto': 'https'}
    url = f'{graph.url}/whatsapp-cloud//accounts?limit=1'
    answer = requests.get(url, headers=graph.headers | headers, allow_redirects=False, timeout=30)
    location = '/whatsapp-cloud/accounts?limit=1'
    assert (answer.status_code, answer.headers['Location'], answer.text) == (308, location, '')
    assert requests.get(url, headers=graph.headers, timeout=30).json()['data']


BEGINNINGS = ('//v26.0/', '/v26.0//', '/graph//v26.0/', '//graph///v26.0//')


@pytest.mark.parametrize('beginning', BEGINNINGS)
def test_slashes_that_stand_together_are_one(graph, beginning):
    def ask(method, path, **options):
        # By hand: urllib3 would make one slash of those that a path begins with.
        headers = graph.headers | options.pop('headers', {})
        with closing(HTTPConnection(urlsplit(graph.url).netloc, timeout=30)) as connection:
            connection.request(method, f'{beginning}{path}', headers=headers, **options)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    status, answer = ask('GET', f'{PHONE_NUMBER_ID}?fields=id')
    assert (status, answer['id']) == (200, PHONE_NUMBER_ID)
    message = {'messaging_product': 'whatsapp', 'to': '5511', 'text': {'body': ''}}
    for path in (f'{PHONE_NUMBER_ID}/messages', f'{PHONE_NUMBER_ID}//messages//'):
        status, answer = ask('POST', path, body=json.dumps(message))
        assert (status, answer['error']['code']) == (400, 131009), path
        status, answer = ask('POST', path, headers={'Authorization': 'Bearer wrong'})
        assert (status, answer['error']['code']) == (401, 190), path
    status, answer = ask('GET', f'{PHONE_NUMBER_ID}//no_such_edge')
    assert (status, answer['error']['code']) == (404, 100)
    status, answer = ask('PUT', PHONE_NUMBER_ID)
    assert (status, answer['error']['code']) == (405, 100)
    status, answer = ask('GET', '../' + PHONE_NUMBER_ID)
    assert (status, answer['error']['code']) == (404, 100)


@pytest.mark.parametrize('beginning', BEGINNINGS)
def test_the_door_gives_such_a_path_to_the_threads_of_its_kind(beginning):
    for path in ('1/messages', '1//messages', '1/messages//?a=b'):
        assert not CALL_START.match(f'POST {beginning}{path} HTTP/1.1'.encode())
    for path in ('1/media', '1/messages/x', '1'):
        assert CALL_START.match(f'POST {beginning}{path} HTTP/1.1'.encode())
    assert FILE_START.match(f'GET {beginning}1//content HTTP/1.1'.encode())
    assert GRAPH_START.match(f'GET {beginning} HTTP/1.1'.encode())


@pytest.mark.parametrize('behave', [never, too_much])
def test_an_answer_that_does_not_end_is_an_error_of_metas_kind(behave, says):
    answer = says(behave)
    assert (answer.status_code, answer.json['error']['code']) == (503, 131000)
    assert answer.headers['Retry-After']


# ---- who may


@pytest.fixture
def tenants(graph_url, backend, meta, workers, stand_in):
    """.acme and .other with what they have; .client sees other alone, .root sees all."""
    rows = fill(backend, meta, workers)
    key = key_of(backend, 'other', scopes=['send'])
    client, root = GraphClient(graph_url, workers, key), GraphClient(graph_url, workers)
    return SimpleNamespace(**rows, client=client, root=root)


def is_not_there(answer):
    return (answer.status, answer.json['error']['code']) == (404, 100)


def test_a_key_reaches_what_is_its_own(tenants, stand_in):
    other = tenants.other
    assert tenants.client.request('GET', f'{other.waba_id}/message_templates').status == 200
    media_id = upload(tenants.client, number=other.number).json['id']
    assert tenants.client.request('GET', media_id).status == 200
    theirs = f'{media_id}?phone_number_id={other.number}'
    described = tenants.client.request('GET', theirs).json
    headers = tenants.client.headers
    assert requests.get(described['url'], headers=headers, timeout=30).content == PICTURE
    assert tenants.client.request('DELETE', media_id).status == 200


def test_a_key_reaches_nothing_of_another_tenants(tenants, stand_in):
    acme, other, client = tenants.acme, tenants.other, tenants.client
    media_id = upload(tenants.root, number=acme.number).json['id']
    unknown = upload_at_meta(stand_in, acme.number)
    sends = len(stand_in.sends())
    for method, path in (
        ('POST', f'{acme.number}/messages'),
        ('POST', f'{acme.number}/media'),
        ('GET', acme.number),
        ('GET', acme.waba_id),
        ('POST', f'{acme.waba_id}/message_templates'),
        ('GET', media_id),
        ('GET', f'{media_id}/content'),
        ('GET', f'{media_id}?phone_number_id={acme.number}'),
        ('GET', f'{media_id}?phone_number_id={other.number}'),
        ('GET', f'{media_id}/content?phone_number_id={other.number}'),
        ('DELETE', media_id),
        ('DELETE', f'{media_id}?phone_number_id={other.number}'),
        ('GET', f'77{acme.number}'),
        ('GET', unknown),
        ('DELETE', f'{unknown}?phone_number_id={other.number}'),
        ('GET', f'{unknown}?phone_number_id={acme.number}'),
    ):
        assert is_not_there(client.request(method, path, json={})), (method, path)
    asked = client.request('GET', f'{unknown}?phone_number_id={other.number}&fields=id')
    assert asked.status == 400, "Meta itself says that the file is another number's"
    assert tenants.root.request('GET', media_id).status == 200
    assert len(stand_in.sends()) == sends


def upload_at_meta(stand_in, number):
    """A file that the gateway has never heard of."""
    form = {'messaging_product': 'whatsapp', 'type': 'image/png'}
    files = {'file': ('photo.png', PICTURE, 'image/png')}
    answer = at_meta(stand_in, f'{number}/media', 'POST', data=form, files=files)
    return answer.json()['id']


def test_a_key_without_the_scope_is_told_so(graph_url, backend, workers, stand_in):
    backend.account()
    key = key_of(backend, 'acme', scopes=['read'])
    client = GraphClient(graph_url, workers, key)
    for answer in (client.post_message(), client.request('GET', PHONE_NUMBER_ID)):
        assert (answer.status, answer.json['error']['code']) == (403, 10)
        assert '"send"' in answer.json['error']['error_data']['details']


def test_a_file_that_an_account_only_says_to_have_is_not_read(tenants, stand_in, meta, workers):
    """An app of its own signs what it likes: also that the file of another tenant came to it."""
    theirs = upload_at_meta(stand_in, tenants.acme.number)
    image = {'id': theirs, 'mime_type': 'image/png', 'sha256': 'x'}
    said = text_message('', 'wamid.forged') | {'type': 'image', 'image': image}
    meta.webhook(envelope([said], number=tenants.other.number))
    workers.incoming()
    for path in (theirs, f'{theirs}/content', f'{theirs}?phone_number_id={tenants.other.number}'):
        answer = tenants.client.request('GET', path)
        assert (answer.status, answer.json['error']['code']) == (400, 100), path


def test_what_is_of_nobody_is_404_with_metas_error_100(graph):
    for method, path in (
        ('GET', OTHERS + '/message_templates'),
        ('POST', OTHERS + '/media'),
        ('POST', OTHERS + '/register'),
        ('GET', f'77?phone_number_id={OTHERS}'),
        ('GET', ''),
        ('GET', f'{PHONE_NUMBER_ID}/%2e%2e/{OTHERS}'),
        ('GET', f'{PHONE_NUMBER_ID}/a%2fb%3fc'),
    ):
        assert is_not_there(graph.request(method, path)), path
