"""What docs/clients.md shows is run as it stands there, and names the versions that were run."""

import json
import re
import shutil
import subprocess

import pytest

from tests.docs import blocks
from tests.people import WABA
from tests.stack import ROOT

pytestmark = pytest.mark.clients

PAGE = 'docs/clients.md'
FILES = {'python': 'example.py', 'js': 'example.mjs', 'php': 'example.php'}
STATES = ['accepted', 'sent', 'delivered', 'read', 'failed']


@pytest.fixture(scope='module')
def demo(door):
    """The account of `make run`, which the examples send from."""
    door.gateway.backend.account(
        'demo', '300112233445577', waba_id=WABA, responder={'kind': 'none'}
    )
    return {'GATEWAY': f'{door.gateway.url}/whatsapp-cloud', 'API_KEY': 'test-key'}


def example(language):
    (found,) = (one.text for one in blocks(PAGE) if one.language == language)
    return found


def command(packages, language, path):
    if language == 'php':
        if not (php := shutil.which('php')):
            pytest.skip(f'NOT TRIED, the example of {PAGE}: there is no php here')
        return [php, path]
    return [packages.bin / {'python': 'python', 'js': 'node'}[language], path]


@pytest.mark.parametrize('language', FILES)
def test_the_example_sends_and_says_what_becomes_of_it(door, demo, packages, tmp_path, language):
    path = tmp_path / FILES[language]
    path.write_text(example(language))
    done = subprocess.run(
        command(packages, language, path),
        env=packages.environ(**demo),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.split()
    assert said[-1] in ('delivered', 'read')
    assert said == sorted(said, key=STATES.index)
    sent = door.gateway.backend.messages(chatbot_id='demo')[0]
    assert sent['content'] == {'body': 'Olá 🎉'}


@pytest.mark.parametrize('language', FILES)
def test_the_example_says_why_it_was_refused(demo, packages, tmp_path, language):
    path = tmp_path / FILES[language]
    path.write_text(example(language))
    environ = packages.environ(**demo | {'API_KEY': 'wrong'})
    done = subprocess.run(
        command(packages, language, path), env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert 'Bearer' in done.stdout + done.stderr


def test_the_examples_are_short():
    for language in (*FILES, 'sh'):
        lines = [line for line in example(language).splitlines() if line.strip()]
        assert len(lines) <= 20, (language, len(lines))


def test_the_page_names_the_versions_that_are_run():
    page = (ROOT / PAGE).read_text()
    folder = ROOT / 'tests' / 'clients'
    pinned = json.loads((folder / 'package.json').read_text())['dependencies']
    lists = (folder / 'requirements.txt').read_text()
    pinned |= dict(re.findall(r'^(pywa|heyoo)==(\S+)', lists, re.MULTILINE))
    for name in ('pywa', 'heyoo', 'whatsapp', 'whatsapp-api-js', '@kapso/whatsapp-cloud-api'):
        assert re.search(
            rf'^\| \[?`?{name}\b.*\| {re.escape(pinned[name])} \|', page, re.MULTILINE
        ), name
    python = re.search(r'^standardwebhooks==(\S+)', lists, re.MULTILINE)[1]
    assert f'`standardwebhooks` {python} of PyPI and {pinned["standardwebhooks"]} of npm' in page
