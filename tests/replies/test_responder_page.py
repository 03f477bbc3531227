"""What docs/responder.md shows is run as it stands there: the services in Python and in Node,
against real asks.
"""

import base64
import os
import re
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager

import pytest

from service.replies import openai_responder, question
from service.replies.responder_client import MAX_ANSWER
from service.runtime.config import VARIABLES
from tests.people import envelope, text_message
from tests.stack import ROOT, free_port, port_open, wait_until
from workers import responder
from workers.replies import THREADS

PAGE = (ROOT / 'docs' / 'responder.md').read_text()
KEYS = b'the key of the responder', b'the key of somebody else'
SECRET, OTHER = ('whsec_' + base64.b64encode(key).decode() for key in KEYS)
RUN = {'python': ([sys.executable], 'responder.py'), 'js': (['node'], 'responder.mjs')}


@contextmanager
def service(language, directory):
    """The page's example, running; its address."""
    command, name = RUN[language]
    if not shutil.which(command[0]):
        warnings.warn(
            f'NOT TRIED, there is no {command[0]}: the example of docs/responder.md', stacklevel=1
        )
        pytest.skip(f'there is no {command[0]} here')
    (example,) = re.findall(rf'```{language}\n(.*?)```', PAGE, re.DOTALL)
    (directory / name).write_text(example)
    port = free_port()
    environ = os.environ | {'RESPONDER_SECRET': SECRET, 'PORT': str(port)}
    with subprocess.Popen(
        [*command, directory / name], env=environ, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(lambda: port_open(port), 20)
            yield f'http://127.0.0.1:{port}/reply'
        finally:
            process.kill()


@pytest.mark.parametrize('language', RUN)
def test_the_example_answers_who_signs_with_its_secret_and_nobody_else(
    backend, meta, workers, tmp_path, language
):
    with service(language, tmp_path) as url:
        for number, secret in enumerate((SECRET, OTHER, None)):
            responder = {'kind': 'http', 'url': url} | ({'secret': secret} if secret else {})
            backend.account(f'chatbot{number}', f'{number}', responder=responder)
            body = envelope([text_message('Olá 🎉', wamid=f'wamid.{number}')], number=f'{number}')
            assert meta.webhook(body).status_code == 200
        workers.incoming()
    (message,) = backend.messages(direction='outbound')
    assert (message['chatbot_id'], message['content']) == (
        'chatbot0',
        {'body': 'You wrote: Olá 🎉'},
    )
    for number in (1, 2):
        (conversation,) = backend.conversations(f'chatbot{number}')
        assert conversation['reply_error']['title'] == 'the responder answered HTTP 401'


def test_the_examples_are_short():
    for language in RUN:
        (example,) = re.findall(rf'```{language}\n(.*?)```', PAGE, re.DOTALL)
        assert len([line for line in example.splitlines() if line.strip()]) <= 20, language


def test_the_figures_are_those_of_the_code():
    assert f'`RESPONDER_TIMEOUT` ({VARIABLES["RESPONDER_TIMEOUT"][1]} s)' in PAGE
    assert MAX_ANSWER == 2**20
    assert f'| number | {responder.MAX_MESSAGES} messages |' in PAGE
    assert f'the last {question.HISTORY}, ' in PAGE
    assert f'{THREADS} threads' in PAGE
    (told,) = re.findall(r'^- ([\d, and]+) are not repeated', PAGE, re.MULTILINE)
    assert set(map(int, re.findall(r'\d+', told))) == openai_responder.FINAL_STATUSES
