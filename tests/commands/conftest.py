"""Commands by click's runner, in this process."""

import json

import pytest


@pytest.fixture
def run(application, database):
    """run('account', 'list', input=…): the result, with .exit_code, .stdout and .stderr."""

    def run(*words, **options):
        return application.test_cli_runner().invoke(args=[*map(str, words)], **options)

    return run


@pytest.fixture
def answer(run):
    """What a command shows with --json; it has to end with 0 and say nothing else on stdout."""

    def answer(*words, code=0, **options):
        done = run(*words, '--json', **options)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    return answer
