"""Renews the lists of packages from setup.cfg: `make lock`.

Each list has every package at one version, the newest that setup.cfg allows, with the hashes of all
its files: those of every system and every Python from 3.11 on. The extra `s3` limits the others:
who installs it, too, finds nothing that it cannot live with. A version that would have to be
compiled on one of PYTHONS and SYSTEMS is refused.
"""

import configparser
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ('3.11', '3.12', '3.13', '3.14')
SYSTEMS = ('x86_64-manylinux_2_28', 'aarch64-manylinux_2_28', 'aarch64-apple-darwin')
HEADER = (
    '# {what}: every package, each at one version. Renew with `make lock`; the wishes stand '
    'in setup.cfg.\n'
)


def main():
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    wishes = config['options']['install_requires'].split()
    s3, run, dev, clients = (
        config['options.extras_require'][extra].split() for extra in ('s3', 'run', 'dev', 'clients')
    )
    with tempfile.TemporaryDirectory() as directory:
        uv = Uv(directory)
        with_s3 = uv.lock(wishes + s3)
        runtime = uv.lock(wishes, limits=with_s3)
        with_run = uv.lock(wishes + run, limits=with_s3)
        everything = uv.lock(wishes + s3 + run + dev, limits=with_s3 | with_run)
        uv.check_wheels(everything)
        their_own = uv.lock(clients)
        uv.check_wheels(their_own)
    write('requirements.txt', 'What the gateway runs on', runtime)
    write('requirements-s3.txt', 'What MEDIA_URL=s3://… needs besides', minus(with_s3, runtime))
    write(
        'tests/requirements-run.txt',
        'What `make run` needs besides',
        minus(with_run, runtime),
        ['../requirements.txt'],
    )
    rest = minus(everything, with_s3 | with_run)
    write(
        'tests/requirements.txt',
        'What tests and tools need besides',
        rest,
        ['requirements-run.txt', '../requirements-s3.txt'],
    )
    write(
        'tests/clients/requirements.txt',
        "Other people's clients, in an environment of their own (package.json has those of Node)",
        their_own,
    )
    write('tests/requirements-uv.txt', 'The installer', {'uv': everything['uv']})


class Uv:
    """The newest uv, in an environment of its own."""

    def __init__(self, directory):
        self.directory = Path(directory)
        venv.create(self.directory / 'uv', with_pip=True)
        python = self.directory / 'uv' / 'bin' / 'python'
        subprocess.run([python, '-m', 'pip', 'install', '-q', 'uv'], check=True)

    def lock(self, wishes, limits=()):
        """{name: its lines, hashes included} of the wishes and of all that they need."""
        constraints = self._file('limits.txt', (limits or {}).values())
        found = self._compile(
            wishes,
            '--generate-hashes',
            '--universal',
            '--constraints',
            constraints,
            python=PYTHONS[0],
        )
        entries = re.findall(r'^[a-z0-9].*(?:\n    .*)*', found, re.MULTILINE)
        return {re.match(r'[a-z0-9.-]+', entry)[0]: entry for entry in entries}

    def check_wheels(self, entries):
        """Every package has a wheel wherever we say that nothing is compiled."""
        for python in PYTHONS:
            for system in SYSTEMS:
                self._compile(
                    entries.values(), '--no-deps', '--python-platform', system, python=python
                )

    def _compile(self, requirements, *options, python):
        wanted = self._file('wanted.txt', requirements)
        command = [
            self.directory / 'uv' / 'bin' / 'uv',
            'pip',
            'compile',
            '-q',
            '--no-header',
            '--no-annotate',
            *options,
        ]
        command += ['--only-binary', ':all:', '--python-version', python, wanted]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def _file(self, name, lines):
        path = self.directory / name
        path.write_text('\n'.join(lines) + '\n')
        return path


def minus(entries, others):
    return {name: entry for name, entry in entries.items() if name not in others}


def write(name, what, entries, included=()):
    lines = [*(f'-r {file}' for file in included), *entries.values()]
    (ROOT / name).write_text(HEADER.format(what=what) + '\n'.join(lines) + '\n')
    print(f'{name}: {len(entries)} packages')


if __name__ == '__main__':
    sys.exit(main())
