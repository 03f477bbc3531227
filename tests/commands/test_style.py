"""One style: every command has help with examples, --json, and no secret on its line."""

import shlex

import click
import pytest

from service.web.commands.gateway_command import GatewayCommand

FLASKS_OWN = {'run', 'shell', 'routes'}


def leaves(group, path=()):
    """(words, command) of every command below a group."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        elif (*path, name)[0] not in FLASKS_OWN:
            yield (*path, name), command


@pytest.fixture(scope='module')
def commands(application):
    return dict(leaves(application.cli))


@pytest.fixture
def run(application):
    return lambda *words: application.test_cli_runner().invoke(args=[*words])


def test_every_command_is_one_of_ours(commands):
    assert ('send-bulk',) in commands
    assert [words for words, one in commands.items() if not isinstance(one, GatewayCommand)] == []


def test_every_command_shows_examples_that_it_would_take(commands, run):
    """Each begins with the command's own words, and its line can be read by the command."""
    for words, command in commands.items():
        shown = run(*words, '--help').output
        assert command.examples, words
        for example in command.examples:
            assert f'  {example}\n' in shown, words
            alone = example.partition(' < ')[0].rpartition(' | ')[2]
            line = shlex.split(alone.removeprefix('KEY=$(').removesuffix(')'))
            assert tuple(line[: 1 + len(words)]) == ('flask', *words), example
            given = [word for word in line[1 + len(words) :] if not word.endswith('.csv')]
            options = {name for one in command.params for name in one.opts}
            assert {word for word in given if word.startswith('--')} <= options, example


def test_every_command_has_a_sentence_and_json(commands):
    for words, command in commands.items():
        assert command.help, words
        assert command.help.partition('\n')[0].endswith('.') or '\n' in command.help, words
        assert '--json' in {name for one in command.params for name in one.opts}, words


def test_what_is_not_understood_ends_with_2(commands, run):
    for words in commands:
        answer = run(*words, '--no-such-option')
        assert (answer.exit_code, 'No such option' in answer.output) == (2, True), words
