"""README and docs keep what they say: every shell block runs, in order, as a newcomer would type
it.
"""

import re
import shlex
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import requests

from tests.doc_answers import answers_in, is_excerpt, is_next, shown
from tests.docs import Block, Newcomer, blocks, documents, tracked_text
from tests.stack import ROOT, wait_until
from tests.system.test_install import LISTS, entries

LANGUAGES = {'sh', 'json', 'text', 'python', 'js', 'php'}
COMMAND = re.compile(
    r'^ *(\$ )?(curl|api|send|customer|flask|make|pip|git|export|printf|python3?|honcho)\b',
    re.MULTILINE,
)
# What no test can run here, and how often it stands there.
NOT_RUN = {
    ('README.md', 'it starts what the others need'): 1,
    ('README.md', 'it is the suite itself'): 1,
    ('docs/setup.md', 'Meta'): 2,
    ('docs/events.md', 'it runs until Ctrl-C'): 1,
}
# Which test runs the programs that a document shows.
PROGRAMS = {
    'docs/clients.md': 'tests/clients/test_clients_page.py',
    'docs/events.md': 'tests/events/test_events_page.py',
    'docs/relay.md': 'tests/events/test_relay_delivery.py',
    'docs/responder.md': 'tests/replies/test_responder_page.py',
}
BANNER = '  The gateway runs.'  # the command in it is run, too
SETUP = 'GATEWAY=http://127.0.0.1:8000/whatsapp-cloud\n'
SHELL = {
    name: [one for one in blocks(name) if one.language == 'sh' and not one.not_run]
    for name in documents()
}
# {shell block: the values of the JSON block behind it}
SHOWN_AFTER = {
    str(block): shown(after)
    for name in documents()
    for block, after in pairwise(blocks(name))
    if (block.language, after.language) == ('sh', 'json') and is_next(block, after)
}
WITH_SHELL = [name for name, found in SHELL.items() if found]


@pytest.fixture(scope='module')
def newcomer(tmp_path_factory):
    with Newcomer(tmp_path_factory.mktemp('newcomer')) as running:
        yield running


def setup():
    """README's first two blocks: what all documents use."""
    first, second = (
        at
        for at, one in enumerate(SHELL['README.md'])
        if 'api()' in one.text or 'later()' in one.text
    )
    assert (first, second) == (0, 1)
    return SHELL['README.md'][:2]


@pytest.mark.parametrize('name', WITH_SHELL)
def test_every_shell_block_runs_in_order(newcomer, name):
    typed = SHELL[name] if name == 'README.md' else setup() + SHELL[name]
    outcomes = newcomer.type(typed)
    problems = [problem for one in outcomes if (problem := one.problem() or untrue(one))]
    assert not problems, '\n\n'.join(problems)
    calls = [call for one in outcomes for call in one.calls]
    assert calls
    assert {call.split('/')[2] for _, call in calls} <= {newcomer.gateway, newcomer.phone}


def untrue(outcome):
    """What the document shows as the answer and the answer is not, as a sentence."""
    real = answers_in(outcome.output)
    for value in SHOWN_AFTER.get(str(outcome.block), ()):
        if not any(is_excerpt(part, one) for part in (value, {'errors': value}) for one in real):
            return f'{outcome.block} is not answered by {value}, but by\n{outcome.output[-3000:]}'
    return None


def test_a_block_that_fails_is_named(newcomer):
    """Else nobody would learn from the test above what to mend."""
    texts = ['api $GATEWAY/nowhere\n', 'false\n', 'api $GATEWAY/accounts\n', 'exit 0\n', 'true\n']
    typed = [Block('a.md', line, 'sh', text) for line, text in enumerate(texts)]
    problems = [one.problem() for one in newcomer.type([*setup(), *typed])[2:]]
    assert problems[0].startswith('a.md:0 ended with 0, answers [404], expected []')
    assert '/whatsapp-cloud/nowhere' in problems[0]
    assert problems[1].startswith('a.md:1 ended with 1')
    assert problems[2] is None
    assert problems[3].startswith('a.md:3 did not end')
    assert problems[4].startswith('a.md:4 did not end')


def test_the_first_command_of_make_run_reaches_the_phone_that_its_page_shows(newcomer):
    command = re.search(r'^  (curl (?:.*\\\n)*.*)$', newcomer.banner, re.MULTILINE)[1]
    done = subprocess.run(
        ['bash', '-c', command], capture_output=True, text=True, env=newcomer.environ
    )
    assert '@@HTTP 202' in done.stderr, done
    page = requests.get(f'http://{newcomer.phone}/', timeout=10).text
    shown = re.search(r"usual = {wa_id: '(\d+)'", page)[1]
    thread = f'http://{newcomer.phone}/phone/messages?wa_id={shown}'
    wait_until(
        lambda: 'Hello' in [one['message'].get('text', {}).get('body') for one in messages(thread)],
        60,
    )


def messages(thread):
    return requests.get(thread, timeout=10).json()['messages']


def test_the_readme_shows_what_make_run_prints(newcomer):
    (shown,) = (one.text for one in blocks('README.md') if BANNER in one.text)
    for printed, written in zip(lines(newcomer.banner), lines(shown), strict=True):
        assert re.sub(r'demo-[\w-]+|:\d+', '', printed) == re.sub(r'demo-[\w-]+|:\d+', '', written)


def lines(banner):
    """From the first line to the command's last, without empty ones."""
    banner = banner.partition(BANNER)[2].partition('  Data and secrets')[0]
    return [line for line in banner.splitlines() if line.strip()]


def test_nothing_that_can_be_typed_is_left_out():
    for name in documents():
        text = (ROOT / name).read_text()
        found = blocks(name)
        assert {one.language for one in found} <= LANGUAGES, [
            str(one) for one in found if not one.language
        ]
        assert len(re.findall(r'^ *```', text, re.MULTILINE)) == 2 * len(found), name
        for one in found:
            assert one.language == 'sh' or BANNER in one.text or not COMMAND.search(one.text), one
        outside = re.sub(r'^ *```.*?^ *```', '', text, flags=re.MULTILINE | re.DOTALL)
        indented = re.findall(r'\n\n(    .+)', outside)
        assert [line for line in indented if COMMAND.search(line)] == [], name


def test_every_program_is_run_by_a_test():
    shown = {
        name
        for name in documents()
        if {one.language for one in blocks(name)} - {'sh', 'json', 'text'}
    }
    assert shown == set(PROGRAMS)
    for name, test in PROGRAMS.items():
        assert Path(name).name in (ROOT / test).read_text(), test


def test_what_is_not_run_is_counted():
    marked = [one for name in documents() for one in blocks(name) if one.not_run]
    assert Counter((one.file, one.not_run) for one in marked) == NOT_RUN
    assert all('graph.facebook.com' in one.text for one in marked if one.not_run == 'Meta')


def test_there_is_one_convention_for_the_address_and_the_key():
    assert setup()[0].text.startswith(SETUP)
    for name, found in SHELL.items():
        for one in found:
            names = set(re.findall(r'\$\{?(API|KEY|HOST|BASE|URL|TOKEN)\b', one.text))
            assert not names, one
            assert '$GATEWAY/whatsapp-cloud' not in one.text, one
            assert name == 'README.md' or 'GATEWAY=' not in one.text, one
        if found and name != 'README.md':
            assert '(../README.md#the-api)' in (ROOT / name).read_text(), name


def test_nobody_is_told_to_install_what_is_not_ours():
    """A name that we have not looked at may be anybody's: our own package's, first of all."""
    known = {package for name in LISTS.values() for package in entries(name)} | {'py-spy'}
    for name, text in tracked_text().items():
        for words in re.findall(
            r'pip install ((?:"[^"]*"|[\w./=-]+)(?: (?:"[^"]*"|[\w./=-]+))*)', text
        ):
            first, *rest = shlex.split(words)
            if first == '-r':
                assert (ROOT / rest[0]).exists(), (name, words)
            else:
                assert first in known, (name, words)
