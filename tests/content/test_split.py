"""A text that is too long for one message, and messages that are named by our own id."""

import uuid

import pytest

from service.content.text_split import split, split_formatted
from tests.people import CHATBOT, CUSTOMER, envelope, sql, text_message

TO = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}'}
LIMIT, MOST = 4096, 25
FAMILY, FLAG, ACCENT, HAND = '👨‍👩‍👧‍👦', '🇧🇷', 'e\u0301', '👍🏽'


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def long_send(backend, body, key=None, **more):
    headers = {'Idempotency-Key': key} if key else None
    return backend.post(
        '/send', {**TO, 'text': {'body': body}, 'split': True, **more}, headers=headers
    )


def errors(answer):
    assert answer.status_code == 422, answer.text
    return answer.json['errors']


# ---- pure: where a text is cut


def test_words_stay_whole_and_nothing_but_the_space_between_them_is_lost():
    words = [f'word{number}' for number in range(2000)]
    parts = list(split(' '.join(words)))
    assert max(map(len, parts)) <= LIMIT
    assert ' '.join(parts).split() == words


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('', []),
        ('   ', []),
        ('short', ['short']),
        ('0123456789', ['0123456789']),
        ('0123456789a', ['0123456789', 'a']),
        ('one two three four', ['one two', 'three four']),
        ('one\u3000two three', ['one\u3000two', 'three']),
        ('lines are\nbetter', ['lines are', 'better']),
        ('line six\nx y z', ['line six', 'x y z']),
        ('a\nb c d e f g', ['a\nb c d e', 'f g']),
        ('lines are \n\n  so', ['lines are', '  so']),
        ('a ' + 'x' * 12, ['a', 'x' * 10, 'xx']),
        (' ' * 11 + 'x', ['x']),
        ('0123456789 ', ['0123456789']),
        ('lines two\r\nthree', ['lines two', 'three']),
        ('one two\n\nx\ny', ['one two', 'x\ny']),
        ('one two\r\n\r\nx\ny', ['one two', 'x\ny']),
        ('a\n\nb c d e f', ['a', 'b c d e f']),
        ('a\n\nb c d\n\ne f g', ['a\n\nb c d', 'e f g']),
        ('a\n\nb c d e f g h i', ['a\n\nb c d e', 'f g h i']),
        ('a\n\n\n\nb c d e\nf', ['a', 'b c d e\nf']),
        ('no\xa0break\xa0here', ['no\xa0break\xa0h', 'ere']),
    ],
)
def test_a_paragraph_is_preferred_then_a_line_then_a_space_and_a_word_is_cut_only_if_it_must_be(
    text, parts
):
    assert list(split(text, 10)) == parts


CODE = 'See:\n```\none\ntwo\nthree\n```\nDone.'


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        (CODE, ['See:\n```\none\n```', '```\ntwo\nthree\n```', 'Done.']),
        ('```\none\ntwo\n```', ['```\none\ntwo\n```']),
        ('aaaa\nbb\n```\none two\n```', ['aaaa\nbb', '```\none two\n```']),
        ('```one``` ```two``` ```three```', ['```one```', '```two```', '```three```']),
        ('one two three four five six', ['one two three four', 'five six']),
    ],
)
def test_code_that_is_cut_is_code_in_each_part(text, parts):
    assert list(split_formatted(text, 22)) == parts


@pytest.mark.parametrize('size', range(20, 60))
def test_every_part_of_code_has_all_its_marks_and_nothing_is_lost(size):
    parts = list(split_formatted(f'{CODE}\n{CODE}', size))
    assert max(map(len, parts)) <= size
    assert all(part.count('```') % 2 == 0 for part in parts)
    words = ' '.join(parts).replace('`', ' ').split()
    assert words == ['See:', 'one', 'two', 'three', 'Done.'] * 2


@pytest.mark.parametrize(
    'sign',
    [
        FAMILY,
        FLAG,
        ACCENT,
        HAND,
        '❤️',
        '1️⃣',
        '\ud83d\ude00'.encode('utf-16', 'surrogatepass').decode('utf-16'),
    ],
)
@pytest.mark.parametrize('before', range(10))
def test_no_sign_is_torn(sign, before):
    text = 'x' * before + sign * 12
    parts = list(split(text, 12))
    assert ''.join(parts) == text
    assert all(not part.replace(sign, '').strip('x') for part in parts), parts


def test_a_pair_of_surrogates_that_somebody_wrote_one_by_one_is_not_torn():
    assert [len(part) for part in split('x' * 9 + '\ud83d' + '\ude00' + 'y', 10)] == [9, 3]


def test_marks_without_end_are_cut_all_the_same():
    assert ''.join(split('e' + '\u0301' * 300, 100)) == 'e' + '\u0301' * 300


# ---- through the door


def test_a_long_text_arrives_in_parts_in_their_order(acme, workers, stand_in):
    body = ' '.join(f'word{number}' for number in range(2000))
    text = {'body': body, 'preview_url': True}
    answer = acme.post(
        '/send',
        {
            **TO,
            'text': text,
            'split': True,
            'client_reference': 'o-1',
            'context': {'message_id': 'wamid.Q'},
        },
    )
    assert answer.status_code == 202, answer.text
    first = answer.json
    assert first['parts'][0] == first['id']
    assert len(first['parts']) == 5
    workers.send()
    sent = [call['body'] for call in stand_in.sends()]
    assert [call['biz_opaque_callback_data'] for call in sent] == first['parts']
    assert ' '.join(call['text']['body'] for call in sent) == body
    assert all(call['text']['preview_url'] is True and 'split' not in call for call in sent)
    assert [call.get('context') for call in sent] == [{'message_id': 'wamid.Q'}] + [None] * 4
    messages = [acme.message(one) for one in first['parts']]
    assert {(one['client_reference'], one['conversation_id']) for one in messages} == {
        ('o-1', first['conversation_id'])
    }


def test_a_text_that_fits_is_one_part_as_it_was_given(acme):
    body = f' {"x " * 2047} '
    answer = long_send(acme, body).json
    assert (answer['parts'], answer['content']['body']) == ([answer['id']], body)
    assert 'parts' not in acme.send(split=False)


def test_25_parts_are_the_most(acme):
    assert len(long_send(acme, 'x' * LIMIT * MOST).json['parts']) == MOST
    (sentence,) = errors(long_send(acme, 'x' * (LIMIT * MOST + 1)))['text.body']
    assert '25' in sentence
    assert len(acme.messages()) == MOST


@pytest.mark.parametrize(
    ('changes', 'field'),
    [
        ({'split': 'yes'}, 'split'),
        ({'text': {'body': ''}}, 'text.body'),
        ({'text': {'body': ' ' * 5000}}, 'text.body'),
        ({'text': {'body': 'x', 'colour': 1}}, 'text.colour'),
        ({'text': 'x'}, 'text'),
        ({'split': False}, 'text.body'),
        ({'type': 'image', 'image': {'id': '1'}, 'text': ...}, 'split'),
    ],
)
def test_what_cannot_be_split_is_422_and_named(acme, changes, field):
    body = {**TO, 'text': {'body': 'x' * 5000}, 'split': True, **changes}
    assert field in errors(
        acme.post('/send', {name: value for name, value in body.items() if value is not ...})
    )
    assert acme.messages() == []


def test_the_same_key_gives_the_first_parts_again(acme):
    first, second = (long_send(acme, 'x' * 9000, key='k') for _ in range(2))
    assert (first.json, second.headers['Idempotent-Replayed']) == (second.json, 'true')
    assert len(acme.messages()) == 3


def test_all_parts_count_as_waiting_and_none_is_stored_when_they_are_too_many(acme, setting):
    setting('MAX_QUEUED', 3)
    assert long_send(acme, 'x' * LIMIT * 4).status_code == 429
    assert acme.messages() == []
    assert long_send(acme, 'x' * LIMIT * 3).status_code == 202
    assert long_send(acme, 'x').status_code == 429


# ---- our own ids


@pytest.fixture
def theirs(acme, meta, workers):
    """A customer's message: our id and its wamid."""
    meta.webhook(envelope([text_message('Hi', wamid='wamid.THEIRS')]))
    workers.incoming()
    (message,) = acme.messages(direction='inbound')
    return message


def test_a_message_that_is_answered_may_be_named_by_our_id(acme, theirs, workers, stand_in):
    for given in (theirs['id'], theirs['id'].upper()):
        assert acme.send(context={'message_id': given})['context'] == {'message_id': 'wamid.THEIRS'}
    workers.send()
    assert [call['body']['context'] for call in stand_in.sends()] == [
        {'message_id': 'wamid.THEIRS'}
    ] * 2


def test_a_reaction_may_name_it_too_and_is_kept_with_what_it_is_about(
    acme, theirs, workers, stand_in
):
    for given in (theirs['id'], 'wamid.THEIRS', 'wamid.OTHER'):
        body = {**TO, 'type': 'reaction', 'reaction': {'message_id': given, 'emoji': '👍'}}
        assert acme.post('/send', body).status_code == 202
    workers.send()
    wamids = ['wamid.THEIRS', 'wamid.THEIRS', 'wamid.OTHER']
    assert [call['body']['reaction']['message_id'] for call in stand_in.sends()] == wamids
    assert sql("SELECT refers_to FROM message WHERE direction = 'outbound' ORDER BY id") == [
        (one,) for one in wamids
    ]


def test_what_we_sent_ourselves_can_be_named_once_meta_has_it(acme, workers, stand_in):
    ours = acme.send()
    (sentence,) = errors(
        acme.post('/send', {**TO, 'text': {'body': 'x'}, 'context': {'message_id': ours['id']}})
    )['context.message_id']
    assert 'no wamid yet' in sentence
    workers.send()
    assert acme.send(context={'message_id': ours['id']})['context'] == {
        'message_id': acme.message(ours['id'])['wamid']
    }


def test_an_id_that_is_unknown_or_another_chatbots_is_422_and_named(acme, theirs):
    acme.account('other', '300112233445567')
    for chatbot_id, given in ((CHATBOT, str(uuid.uuid4())), ('other', theirs['id'])):
        place = {'message_id': given}
        body = {
            **TO,
            'chatbot_id': chatbot_id,
            'type': 'reaction',
            'reaction': place | {'emoji': ''},
            'context': place,
        }
        found = errors(acme.post('/send', body))
        assert list(found) == ['context.message_id', 'reaction.message_id']
        assert found['context.message_id'] == ['This chatbot has no message of this id.']
    assert acme.messages(direction='outbound') == []


def test_a_bulk_may_quote_by_our_id(acme, theirs):
    def bulk(given):
        message = {'text': {'body': 'Hi'}, 'context': {'message_id': given}}
        return acme.post(
            '/send/bulk',
            {'chatbot_id': CHATBOT, 'message': message, 'recipients': ['+12025550144']},
        )

    assert list(errors(bulk(str(uuid.uuid4())))) == ['message.context.message_id']
    (message,) = acme.messages(batch_id=bulk(theirs['id']).json['id'])
    assert message['context'] == {'message_id': 'wamid.THEIRS'}
