"""Other people's clients in a folder of their own: `python -m tests.clients.packages FOLDER`.

The packages of requirements.txt in an environment of Python, Node among them, and by its npm those
of package-lock.json; each at one version whose hash is checked.
"""

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REGISTRIES = ('https://pypi.org/simple/pywa/', 'https://registry.npmjs.org/whatsapp')
# Several of the scripts are modules of Node, which looks for packages beside them alone.
SCRIPTS = ('*.mjs', '*.cjs', 'package.json', 'package-lock.json')


class NoRegistry(Exception):
    """The packages cannot be had, as a registry is not to be reached from here."""


class Packages:
    """An environment that has them: run() starts a script of this folder there."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.bin = self.folder / 'python' / 'bin'
        self.node = self.folder / 'node'

    def install(self):
        """Fetch them. Raises NoRegistry."""
        try:
            return self._install()
        except AssertionError as error:
            if missing := [url for url in REGISTRIES if not _is_reachable(url)]:
                raise NoRegistry(f'{", ".join(missing)} cannot be reached') from error
            raise

    def _install(self):
        venv.create(self.folder / 'python', with_pip=True)
        wheels = ['--require-hashes', '--only-binary', ':all:', '-r', HERE / 'requirements.txt']
        self._do(self.bin / 'python', '-m', 'pip', 'install', '-q', *wheels)
        self.node.mkdir()
        for pattern in SCRIPTS:
            for path in HERE.glob(pattern):
                shutil.copy(path, self.node)
        self._do(self.bin / 'npm', 'ci', '--no-audit', '--no-fund', '--ignore-scripts')
        return self

    def command(self, script, *arguments):
        """The command that runs a script, by the language that its name tells."""
        if script.endswith('.py'):
            return [self.bin / 'python', HERE / script, *arguments]
        return [self.bin / 'node', self.node / script, *arguments]

    def run(self, script, given='', seconds=120, **environ):
        """What a script says on its output, given some text on its input."""
        done = subprocess.run(
            self.command(script),
            input=given,
            env=self.environ(**environ),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, f'{script}:\n{done.stdout}\n{done.stderr}'
        return done.stdout

    def environ(self, **more):
        """Nothing of the tests' own but the PATH, with these programs first."""
        path = f'{self.bin}{os.pathsep}{os.environ["PATH"]}'
        kept = {name: os.environ[name] for name in ('HOME', 'LANG') if name in os.environ}
        return {**kept, 'PATH': path, 'NODE_ENV': 'production', 'PYTHONIOENCODING': 'utf-8', **more}

    def _do(self, *command):
        environ = {**os.environ, 'PATH': self.environ()['PATH']}
        done = subprocess.run(
            command,
            cwd=self.node if self.node.exists() else None,
            env=environ,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f'{command}:\n{done.stdout}\n{done.stderr}'


def _is_reachable(url):
    try:
        urllib.request.urlopen(url, timeout=20).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


if __name__ == '__main__':
    Packages(sys.argv[1]).install()
