"""Fills the environment of the Makefile: `python3 tests/install.py .venv
tests/requirements-run.txt`.

1. The environment, if there is none or its Python is gone.
2. uv, which installs in seconds: the one on the PATH, else that of PyPI.
3. The packages, by uv; by pip, where uv is not to be had or could not do it.

Only wheels are taken, so nothing is compiled, and each file's hash is checked. Nothing is installed
yet when this runs: it needs the standard library alone.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

UV = Path(__file__).resolve().parent / 'requirements-uv.txt'
WHEELS = ['--require-hashes', '--only-binary', ':all:', '-r']
# Where pip was told to look, uv looks too: {pip's setting: uv's variable}.
SETTINGS = {'index-url': 'UV_DEFAULT_INDEX', 'cert': 'SSL_CERT_FILE', 'proxy': 'ALL_PROXY'}


class Failed(Exception):
    """A command ended badly; the text is what it wrote last."""


def main():
    if sys.version_info < (3, 11):  # noqa: UP036 - nothing else has looked yet
        return (
            f'Python 3.11 or newer is needed, this is {sys.version.split()[0]} (try: make '
            'PYTHON=python3.11 ...)'
        )
    directory, requirements = Path(sys.argv[1]), sys.argv[2]
    began = time.monotonic()
    try:
        python = environment(directory)
        say(f'Fetching the packages of {requirements} into {directory}: once, and most of the wait')
        try:
            by_uv(python, requirements)
        except Failed as error:
            say(f'Not by uv ({last_line(error)}); pip does it, which takes a minute or two')
            run(python, '-m', 'pip', 'install', *WHEELS, requirements)
    except Failed as error:
        return f'{error}\n\nThe packages could not be installed.'
    say(f'Installed in {time.monotonic() - began:.0f} s')


def environment(directory):
    """Its Python."""
    python = directory / 'bin' / 'python'
    try:
        run(python, '-c', '')
    except Failed:
        say(f'Making {directory}')
        run(sys.executable, '-m', 'venv', '--clear', directory)
    return python


def by_uv(python, requirements):
    """Compiled to bytecode at once: else each of the processes would do it at its start, all at the
    same time.
    """
    into = ['--python', python, '--compile-bytecode']
    run(uv(python), 'pip', 'install', *into, *WHEELS, requirements, env=pips_settings(python))


def uv(python):
    if found := shutil.which('uv') or shutil.which('uv', path=python.parent):
        return found
    run(python, '-m', 'pip', 'install', '--retries', '1', *WHEELS, UV)
    return python.parent / 'uv'


def pips_settings(python):
    listed = run(python, '-m', 'pip', 'config', 'list')
    found = dict(re.findall(r"^[^.]+\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    return {
        variable: found[name]
        for name, variable in SETTINGS.items()
        if name in found and variable not in os.environ
    }


def run(*command, env=None):
    """What the command writes; Failed when it ends badly or cannot be started."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **(env or {})}
        )
    except OSError as error:
        raise Failed(str(error)) from error
    if done.returncode:
        raise Failed((done.stderr or done.stdout)[-3000:].strip())
    return done.stdout


def last_line(error):
    return (str(error).splitlines() or ['no reason given'])[-1].strip()


def say(line):
    print(line, flush=True)


if __name__ == '__main__':
    sys.exit(main())
