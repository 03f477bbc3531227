"""One message to many from a CSV file: POST /send/bulk with text/csv, and `flask send-bulk`."""

import io
import json

import pytest

from service.runtime.db import db
from service.runtime.errors import Invalid
from service.sending.recipients import Personalisation, RecipientList
from service.sending.recipients_csv import SIZE_LIMIT, read_rows
from service.web import bulk_order
from tests.people import CHATBOT, sql

HELLO = {'type': 'text', 'text': {'body': 'Hello {{name}}'}}
TEMPLATE = {'type': 'template', 'template': {'name': 'sale', 'language': {'code': 'en_US'}}}
ANA, BOB = '+12025550001', '+12025550002'


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def upload(backend, data, key=None, kind='text/csv', **query):
    data = data.encode() if isinstance(data, str) else data
    query = {
        'chatbot_id': CHATBOT,
        **({} if {'message', 'template'} & query.keys() else {'text': 'Hello {{name}}'}),
        **query,
    }
    headers = {'Content-Type': kind, **({'Idempotency-Key': key} if key else {})}
    return backend.request('POST', '/send/bulk', query_string=query, data=data, headers=headers)


def texts(backend, batch_id):
    found = {
        m['to'] or m['recipient']: m['content'].get('body')
        for m in backend.messages(batch_id=batch_id)
    }
    return dict(sorted(found.items()))


def nothing_stored():
    return (
        sql(
            'SELECT (SELECT count(*) FROM batch) + (SELECT count(*) FROM message) + (SELECT '
            'count(*) FROM '
            'conversation) + (SELECT count(*) FROM idempotency_key)'
        )[0][0]
        == 0
    )


def read(data, message=HELLO):
    return list(read_rows(io.BytesIO(data), Personalisation(message)))


# ---- pure: the file


@pytest.mark.parametrize(
    'data',
    [
        b'to,name\n+12025550001,Ana\n',
        b'to,name\r\n+12025550001,Ana',
        b'\xef\xbb\xbfto,name\n+12025550001,Ana\n',
        b'to;name\n+12025550001;Ana\n',
        b'"to","name"\n"+12025550001","Ana"\n',
        b' phone , name\n +12025550001,Ana\n',
        b'name,To\nAna,+12025550001\n',
        b'\xef\xbb\xbf"to";"name"\r\n\r\n+12025550001;Ana\r\n;\r\n',
        b'to,name,client_reference\n+12025550001,Ana,\n',
    ],
)
def test_the_forms_that_programs_write_are_all_read(data):
    (row,) = read(data)
    assert (row.address, row.parameters, row.errors) == ({'to': ANA}, {'name': 'Ana'}, {})


def test_a_quoted_cell_holds_separators_quotes_and_line_ends_and_lines_are_those_of_the_file():
    first, second = read(b'to,name\r\n+12025550001,"A ""x"", y\r\nz;"\r\n+12025550002,Bob\r\n')
    assert first.parameters == {'name': 'A "x", y\r\nz;'}
    assert (first.line, second.line) == (2, 4)


def test_a_ragged_row_is_an_error_of_its_line_alone():
    found = read(b'to,name\n+12025550001\n+12025550002,Bob,x\n+12025550003,Eve\n')
    assert [(row.line, row.errors) for row in found] == [
        (2, {'line': ['Has 1 cells, and the header has 2.']}),
        (3, {'line': ['Has 3 cells, and the header has 2.']}),
        (4, {}),
    ]


@pytest.mark.parametrize(
    ('data', 'sentence'),
    [
        (b'', 'The first line is empty: it must name the columns.'),
        (b'\nto,name\n', 'The first line is empty: it must name the columns.'),
        (b',\n+12025550001,Ana\n', 'The first line is empty: it must name the columns.'),
        (b'to,,name\n', 'Column 2 has no name.'),
        (b'to,name,name\n', 'Two columns mean "name".'),
        (b'to,phone,name\n', 'Two columns mean "to".'),
        (b'name\n', 'There is no column "to", "phone" or "recipient".'),
        (b'+12025550001,Ana\n', 'There is no column "to", "phone" or "recipient".'),
        (b'to,name,city\n', 'The message does not use the column "city".'),
        (
            b'to\n',
            'The message has the placeholder {{name}}, and there is no column of this name for it.',
        ),
        ('to,name\n'.encode('utf-16-le'), 'The header holds a NUL: save the file as UTF-8.'),
    ],
)
def test_a_header_that_does_not_fit_is_refused(data, sentence):
    with pytest.raises(Invalid) as caught:
        read(data)
    assert caught.value.errors == {'header': [sentence]}


@pytest.mark.parametrize(('data', 'start'), [
    ('to,name\n+1,Ana\n+2,José\n'.encode('latin-1'), 'Line 3 is not UTF-8'),
    ('to,name\n'.encode('utf-16'), 'Line 1 is not UTF-8'),
    (b'to,name\n+1,Ana\n+2,"Bob\n+3,Eve\n', 'The record that begins on line 3'),
    (b'to,name\n+1,"A"na\n', 'The record that begins on line 2'),
    (b'to,name\r+1,Ana\r', 'The record that begins on line 1'),
    (b'to,name\n+1,' + b'x' * 200_000, 'The record that begins on line 2'),
])  # fmt: skip
def test_a_file_that_cannot_be_read_names_its_line(data, start):
    with pytest.raises(Invalid) as caught:
        read(data)
    assert caught.value.errors['file'][0].startswith(start)


def test_a_nul_in_a_row_and_an_empty_cell_are_errors_of_their_lines():
    recipients = RecipientList(CHATBOT, Personalisation(HELLO))
    recipients.add_rows(
        read_rows(
            io.BytesIO(
                b'to,name\n+12025550001,A\x00na\n+1202\x005550001,B\n+12025550003,\n+12025550004,D\n'
            ),
            recipients.personalisation,
        )
    )
    assert [(row['line'], *row['errors']) for row in recipients.rejected_rows] == [
        (2, 'parameters.name'),
        (3, 'to'),
        (4, 'parameters.name'),
    ]


def test_the_columns_of_a_template_are_its_parameters_in_the_order_of_the_header():
    personalisation = Personalisation(TEMPLATE)
    (row,) = read_rows(io.BytesIO(b'2,to,1\nb,+12025550001,a\n'), personalisation)
    (component,) = personalisation.fill(row.parameters)['template']['components']
    assert [parameter['text'] for parameter in component['parameters']] == ['a', 'b']
    (row,) = read_rows(io.BytesIO(b'city,to,name\nRio,+12025550001,Ana\n'), personalisation)
    (component,) = personalisation.fill(row.parameters)['template']['components']
    assert [parameter['parameter_name'] for parameter in component['parameters']] == [
        'city',
        'name',
    ]


# ---- through the door


def test_a_file_is_a_batch(acme, workers, stand_in):
    data = f'to,name,client_reference\n{ANA},Ana,o-1\nnobody,Eve,\n{BOB},Bob,\n{BOB},Bob again,\n'
    answer = upload(acme, data)
    assert answer.status_code == 202, answer.text
    batch = answer.json
    assert (batch['recipients'], batch['rejected'], batch['duplicates'], batch['accepted']) == (
        4,
        1,
        1,
        2,
    )
    assert [(row['line'], list(row['errors'])) for row in batch['rejected_rows']] == [(3, ['to'])]
    assert texts(acme, batch['id']) == {ANA: 'Hello Ana', BOB: 'Hello Bob'}
    workers.send()
    assert acme.get(f'/batches/{batch["id"]}').json['counts'] == {'accepted': 2}


def test_a_file_may_name_phones_and_bsuids_in_two_columns(acme):
    batch = upload(
        acme, f'to,recipient,name\n{ANA},,Ana\n,US.13491208655302741918,Bob\n,,Eve\n'
    ).json
    assert texts(acme, batch['id']) == {ANA: 'Hello Ana', 'US.13491208655302741918': 'Hello Bob'}
    assert [row['line'] for row in batch['rejected_rows']] == [4]


def test_the_message_may_be_a_template_or_json(acme):
    batch = upload(acme, f'to,1\n{ANA},50%\n', template='sale', language='pt_BR').json
    (message,) = acme.messages(batch_id=batch['id'])
    assert message['content'] == {
        'name': 'sale',
        'language': {'code': 'pt_BR'},
        'components': [{'type': 'body', 'parameters': [{'type': 'text', 'text': '50%'}]}],
    }
    image = {'type': 'image', 'image': {'link': 'https://example.com/{{file}}.png'}}
    batch = upload(acme, f'to,file\n{ANA},a\n', message=json.dumps(image)).json
    assert acme.messages(batch_id=batch['id'])[0]['content'] == {
        'link': 'https://example.com/a.png'
    }


@pytest.mark.parametrize(
    ('query', 'field'),
    [
        (
            {
                'message': '{"text":',
            },
            'message',
        ),
        ({'message': '[' * 2000}, 'message'),
        ({'message': '[]'}, 'message'),
        ({'message': '{"text": {"body": NaN}}'}, 'message'),
        ({'message': '{}', 'text': 'x'}, 'text'),
        ({'template': 'sale'}, 'language'),
        ({'text': 'x', 'language': 'en'}, 'language'),
        ({'text': ''}, 'message.text.body'),
        ({'chatbot_id': ''}, 'chatbot_id'),
        ({'recipients': '1'}, 'recipients'),
        ({'send_at': 'soon'}, 'send_at'),
        ({'message': '{"to": "+12025550001", "text": {"body": "x"}}'}, 'message.to'),
    ],
)
def test_an_order_that_is_not_valid_is_422(acme, query, field):
    answer = upload(acme, f'to,name\n{ANA},Ana\n', **query)
    assert answer.status_code == 422, answer.text
    assert field in answer.json['errors']
    assert nothing_stored()


@pytest.mark.parametrize(('data', 'says'), [
    ('to,name\n+12025550001,José\n'.encode('latin-1'), 'Line 2 is not UTF-8'),
    (f'to,name\n{ANA},Ana\n' + 'ragged\n' * 10_000, '10,000'),
    ('to,city\n+12025550001,Rio\n', 'does not use the column'), (b'', 'The first line is empty'),
    ('to,name\n', 'None given'), ('to,name\nnobody,Ana\n', 'line 2, to'),
])  # fmt: skip
def test_a_file_that_cannot_be_sent_is_422_and_stores_nothing(acme, data, says):
    answer = upload(acme, data)
    assert answer.status_code == 422
    assert says in answer.text
    assert nothing_stored()


@pytest.mark.parametrize('chunked', [False, True])
def test_a_file_of_more_than_8_mib_is_413_and_one_of_less_is_read(acme, chunked):
    line = f'{ANA},{"x" * 4000}\n'.encode()
    data = b'to,name\n' + line * (SIZE_LIMIT // len(line))
    assert len(data) > 4 * 1024 * 1024
    for body, status in ((data, 202), (data + line, 413)):
        options = (
            {'input_stream': io.BytesIO(body), 'environ_overrides': {'wsgi.input_terminated': True}}
            if chunked
            else {'data': body}
        )
        answer = acme.request(
            'POST',
            '/send/bulk',
            query_string={'chatbot_id': CHATBOT, 'text': '{{name}}'},
            content_type='text/csv',
            **options,
        )
        assert answer.status_code == status, answer.text
    assert answer.content_type == 'application/problem+json'
    assert sql('SELECT count(*) FROM message') == [(1,)]


def test_the_same_key_and_file_give_the_first_batch_again(acme):
    data = f'to,name\n{ANA},Ana\n'
    first, second = (
        upload(acme, data, key='k1'),
        upload(acme, data, key='k1', kind='text/csv; charset=utf-8'),
    )
    assert (first.json, second.headers['Idempotent-Replayed']) == (second.json, 'true')
    for other in (
        upload(acme, data + f'{BOB},Bob\n', key='k1'),
        upload(acme, data, key='k1', text='Bye {{name}}'),
    ):
        assert 'Idempotency-Key' in other.json['errors']
    assert len(acme.messages()) == 1


def test_another_type_of_body_is_415(acme):
    assert upload(acme, 'to\n', kind='text/plain').status_code == 415


def test_no_connection_to_the_database_is_held_while_a_file_comes_in(
    acme, application, monkeypatch
):
    seen = []
    read_csv = bulk_order.read_csv
    monkeypatch.setattr(
        bulk_order, 'read_csv', lambda *given: seen.append(db.is_closed()) or read_csv(*given)
    )
    assert upload(acme, f'to,name\n{ANA},Ana\n').status_code == 202
    assert seen == [True]


# ---- the command


@pytest.fixture
def command(acme, application, tmp_path):
    def run(data, *options, answer=None):
        path = tmp_path / 'people.csv'
        path.write_text(data)
        words = ['send-bulk', str(path), '--chatbot-id', CHATBOT, *options]
        return application.test_cli_runner().invoke(args=words, input=answer)

    return run


def test_the_command_queues_a_file_after_a_yes(acme, command):
    data = f'to,name\n{ANA},Ana\n'
    refused = command(data, '--text', 'Hello {{name}}', '--no-wait', answer='n\n')
    assert (refused.exit_code, nothing_stored()) == (1, True)
    done = command(data, '--text', 'Hello {{name}}', '--no-wait', answer='y\n')
    assert done.exit_code == 0, done.output
    assert 'Send to 1 recipients?' in done.output
    assert [message['content'] for message in acme.messages()] == [{'body': 'Hello Ana'}]


def test_a_number_that_is_known_is_good_in_a_file_and_to_the_command(acme, command):
    """Of a length that its country no longer has: Meta knows a customer under it."""
    data = 'to,name\n+96103123456,Ana\n+96103123457,Bob\n'
    assert upload(acme, data).status_code == 422
    sent = acme.send('+12025550143')['conversation_id']
    sql("INSERT INTO conversation_identity VALUES (%s, 'phone', '96103123456', %s)", CHATBOT, sent)
    batch = upload(acme, data).json
    assert (batch['accepted'], [row['line'] for row in batch['rejected_rows']]) == (1, [3])
    result = command(data, '--text', 'Hello {{name}}', '--yes', '--no-wait')
    assert 'line 3: to: Leave out the 0' in result.output
    assert '1 queued' in result.output


def test_the_command_names_rejected_lines_and_ends_with_1(acme, command):
    done = command(
        f'to,1\n{ANA},a\nnobody,b\n', '--template', 'sale', '--language', 'en', '--yes', '--no-wait'
    )
    assert done.exit_code == 1
    assert 'line 3: to: A phone number has no letters.' in done.output
    assert len(acme.messages()) == 1


@pytest.mark.parametrize(
    ('data', 'options', 'says'),
    [
        ('to\n', ['--text', 'Hi'], 'None given'),
        ('to,x\n', ['--text', 'Hi'], 'does not use the column'),
        (f'to\n{ANA}\n', [], 'Exactly one of'),
        (f'to\n{ANA}\n', ['--message', '{'], 'Not JSON'),
        (f'to\n{ANA}\n', ['--text', 'Hi', '--chatbot-id', 'nobody'], 'There is no chatbot'),
    ],
)
def test_the_command_says_what_is_wrong_and_stores_nothing(command, data, options, says):
    done = command(data, *options, '--yes')
    assert (done.exit_code, nothing_stored()) == (1, True)
    assert says in done.output
    assert 'Traceback' not in done.output
