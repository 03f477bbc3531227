"""The shell blocks of README and docs, and a shell in which they run one after the other against
`make run`.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.stack import ROOT, free_port, wait_until

FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<body>.*?)^(?P=indent)```\s*$',
    re.MULTILINE | re.DOTALL,
)
MARK = re.compile(r'<!-- (?P<mark>not run|answers):? (?P<what>[^\n]+) -->\s*\Z')
DEFAULTS = ('127.0.0.1:8000', '127.0.0.1:9090')  # where `make run` listens when it may
LIMIT = 300  # seconds for one file
# Says on standard error what each call was answered with; nobody looks at that of a newcomer's
# curl. In one piece: curl writes it in several, between which a program behind a pipe may write to
# the same file.
CURL = """#!/bin/sh
exec 3>&1
format='%{{stderr}}@@HTTP %{{http_code}} %{{method}} %{{url_effective}}'
said=$({curl} --max-time 60 --write-out "$format" "$@" 2>&1 >&3)
code=$?
printf '%s\\n' "$said" >&2
exit $code
"""


@dataclass(frozen=True)
class Block:
    """What stands between two fences; `not_run` says why, `answers` is the error that it shows."""

    file: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    answers: int | None = None

    def __str__(self):
        return f'{self.file}:{self.line}'


@dataclass
class Outcome:
    block: Block
    output: str
    code: int | None  # None: it did not end in time, or one before it did not
    calls: list[tuple[int, str]] = field(default_factory=list)

    def problem(self):
        wrong = {status for status, _ in self.calls if not 200 <= status < 300}
        expected = {self.block.answers} if self.block.answers else set()
        if self.code == 0 and wrong == expected:
            return None
        code = 'did not end' if self.code is None else f'ended with {self.code}'
        calls = '\n'.join(f'  {status} {call}' for status, call in self.calls)
        return (
            f'{self.block} {code}, answers {sorted(wrong)}, expected '
            f'{sorted(expected)}:\n{calls}\n{self.output[-3000:]}'
        )


def blocks(name):
    text = (ROOT / name).read_text()
    return [block(name, text, found) for found in FENCE.finditer(text)]


def block(name, text, found):
    before, indent = text[: found.start()], found['indent']
    mark = MARK.search(before)
    said = {'not run': None, 'answers': None} | ({mark['mark']: mark['what']} if mark else {})
    body = ''.join(line.removeprefix(indent) for line in found['body'].splitlines(keepends=True))
    answers = said['answers'] and int(said['answers'])
    return Block(name, before.count('\n') + 1, found['language'], body, said['not run'], answers)


class Newcomer:
    """A copy of the repository in which `make run` runs, and a person who types what README and
    docs say.
    """

    def __init__(self, directory):
        self.directory, self.log = directory / 'clone', directory / 'run.log'
        self.directory.mkdir()
        for path in ROOT.iterdir():
            if path.name not in ('.git', '.run', '.venv', '.env'):
                (self.directory / path.name).symlink_to(path)
        (self.directory / '.venv').symlink_to(sys.prefix)
        (directory / 'bin').mkdir()
        missing = [
            name for name in ('bash', 'curl', 'openssl', 'python3') if not shutil.which(name)
        ]
        assert not missing, f'the commands of the documents need {missing}'
        curl = directory / 'bin' / 'curl'
        curl.write_text(CURL.format(curl=shutil.which('curl')))
        curl.chmod(0o755)
        keep = {name: os.environ[name] for name in ('HOME', 'LANG') if name in os.environ}
        path = f'{directory / "bin"}{os.pathsep}{os.environ["PATH"]}'
        self.environ = {**keep, 'PATH': path, 'PYTHONPATH': str(ROOT)}

    def __enter__(self):
        environ = self.environ | {'PORT': str(free_port())}
        with self.log.open('w') as log:
            command = [sys.executable, '-m', 'tests.run']
            self.process = subprocess.Popen(
                command, cwd=self.directory, env=environ, stdout=log, stderr=log
            )
        self.banner = wait_until(self._banner, 120, message=self.log.read_text)
        self.phone = re.search(r'Phone +http://([^/]+)/', self.banner)[1]
        self.gateway = re.search(r'API +http://([^/]+)/', self.banner)[1]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def _banner(self):
        text = self.log.read_text()
        assert self.process.poll() is None, text
        return text if 'Ctrl-C stops everything.' in text else None

    def type(self, blocks):
        """Every block in one shell: what the first sets, the later ones use."""
        parts = [
            f'printf "\\n@@BLOCK\\n"\n{block.text}\nprintf "\\n@@END %s\\n" $?\n'
            for block in blocks
        ]
        script = 'exec 2>&1\n' + ''.join(parts)
        for default, real in zip(DEFAULTS, (self.gateway, self.phone), strict=True):
            script = script.replace(default, real)
        output = self._run(script)
        pieces = output.split('\n@@BLOCK\n')[1:]
        pieces += ['(not reached)'] * (len(blocks) - len(pieces))
        return [outcome(block, piece) for block, piece in zip(blocks, pieces, strict=True)]

    def _run(self, script):
        written = self.directory / 'typed.log'
        with written.open('w') as log:
            shell = subprocess.Popen(
                ['bash', '-c', script],
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            shell.wait(LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, 9)
            shell.wait()
        return written.read_text(errors='replace')


def outcome(block, piece):
    end = re.search(r'\n@@END (\d+)\n', piece)
    calls = [(int(status), call) for status, call in re.findall(r'@@HTTP (\d+) (.+)', piece)]
    return Outcome(block, piece, int(end[1]) if end else None, calls)


def documents():
    return [
        'README.md',
        *sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'docs').glob('*.md')),
    ]


def tracked_text():
    """{name: text} of what people read: documents, and the code that speaks to operators."""
    files = [
        ROOT / name
        for name in (*documents(), 'app.json', '.env.example', 'tests/simulator/README.md')
    ]
    files += sorted(Path(ROOT / 'service').rglob('*.py'))
    return {str(path.relative_to(ROOT)): path.read_text() for path in files}
