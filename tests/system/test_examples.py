"""What docs/messages.md shows is what works: every example is sent as it stands there."""

import json
import re

import pytest

from tests.people import CUSTOMER
from tests.stack import ROOT

TABLE = (ROOT / 'docs' / 'messages.md').read_text().partition('## What comes in')[0]
EXAMPLES = re.findall(r"^\| ([^|]+) \| `send '(.+?)'` \|", TABLE, re.MULTILINE)


@pytest.mark.parametrize(('kind', 'example'), EXAMPLES, ids=[kind for kind, _ in EXAMPLES])
def test_an_example_of_the_docs_is_accepted_and_arrives_unchanged(
    backend, workers, stand_in, kind, example
):
    backend.account('demo')
    given = json.loads(f'{{{example}}}')
    answer = backend.post('/send', {'chatbot_id': 'demo', 'to': f'+{CUSTOMER}', **given})
    assert answer.status_code == 202, answer.text
    workers.send()
    (call,) = stand_in.sends()
    assert call['outcome'] == 'accepted', call
    assert {name: call['body'][name] for name in given} == given
    assert kind.removeprefix('interactive: ') in (
        call['body']['type'],
        given.get('interactive', {}).get('type'),
    )


def test_there_is_an_example_of_each_type():
    assert len(EXAMPLES) == 23
