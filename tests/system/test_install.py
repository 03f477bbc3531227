"""What `make` installs: the lists of packages, and the installer with files of our own in the place
of PyPI's.
"""

import configparser
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from service.runtime.queues import DRAINS
from tests import install
from tests.stack import ROOT

LISTS = {
    'install_requires': 'requirements.txt',
    's3': 'requirements-s3.txt',
    'run': 'tests/requirements-run.txt',
    'dev': 'tests/requirements.txt',
}
# Imports what `make run` runs, in the servers' order, and what each of its processes imports.
STAGE = (
    'tests.run',
    'tests.simulator.__main__',
    'service.runtime.migrate',
    'service.web.app',
    'workers.__main__',
    'workers.clock',
    *(drain.rpartition('.')[0] for drain in DRAINS.values()),
    'gunicorn.app.wsgiapp',
)
ONLY = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {refused!r}:
            raise ImportError(f'{{name}} does not come with make run')
sys.meta_path.insert(0, Refuse())
for name in {names!r}:
    importlib.import_module(name)
"""


def entries(name):
    """{package: its lines} of a list."""
    text = (ROOT / name).read_text()
    found = re.findall(r'^[A-Za-z0-9].*(?:\n    .*)*', text, re.MULTILINE)
    return {Requirement(entry.partition('\\')[0].strip()).name: entry for entry in found}


def wishes():
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    listed = {
        'install_requires': config['options']['install_requires'],
        **config['options.extras_require'],
    }
    return [(name, Requirement(wish)) for name in LISTS for wish in listed[name].split()]


@pytest.mark.parametrize(
    'name', [*LISTS.values(), 'tests/requirements-uv.txt', 'tests/clients/requirements.txt']
)
def test_every_package_is_listed_at_one_version_with_hashes(name):
    assert len(entries(name)) > 0
    for package, entry in entries(name).items():
        assert re.match(r'[a-z0-9.-]+==[^ *]+ ', entry), package
        assert re.fullmatch(
            r'(?: *--hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+', entry.partition('\\\n')[2]
        ), package


def test_the_lists_hold_what_setup_cfg_wishes_and_no_package_twice():
    known = {}
    for name, wish in wishes():
        known |= entries(LISTS[name])
        entry = known[wish.name]
        assert wish.specifier.contains(re.match(r'[^=]+==([^ ]+)', entry)[1]), wish
    every = [package for name in LISTS.values() for package in entries(name)]
    assert sorted(every) == sorted(set(every))


def test_make_run_needs_nothing_but_what_is_installed_for_it():
    refused = {
        module_of(package) for name in (LISTS['s3'], LISTS['dev']) for package in entries(name)
    }
    assert {'pytest', 'playwright', 'moto', 'hypothesis', 'boto3'} <= refused
    code = ONLY.format(refused=refused, names=STAGE)
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]


def module_of(package):
    return {'pyyaml': 'yaml', 'pytest-xdist': 'xdist'}.get(package, package.replace('-', '_'))


# --- The installer ---


class Shop:
    """A folder of packages, the only one that pip and uv know, and a run of the installer."""

    def __init__(self, directory):
        self.directory = directory
        self.shelf = directory / 'shelf'
        self.shelf.mkdir()
        self.requirements = directory / 'requirements.txt'
        self.python = directory / 'environment' / 'bin' / 'python'

    def wheel(self, name):
        path = self.shelf / f'{name}-1.0-py3-none-any.whl'
        with zipfile.ZipFile(path, 'w') as file:
            file.writestr(f'{name}.py', 'HERE = True\n')
            file.writestr(
                f'{name}-1.0.dist-info/METADATA',
                f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n',
            )
            file.writestr(
                f'{name}-1.0.dist-info/WHEEL',
                'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
            )
            file.writestr(f'{name}-1.0.dist-info/RECORD', '')
        return path

    def source(self, name):
        """One that leaves a mark when anybody runs its setup.py."""
        folder = self.directory / f'{name}-1.0'
        folder.mkdir()
        (folder / 'setup.py').write_text(f'open({str(self.directory / "compiled")!r}, "w")\n')
        (folder / 'PKG-INFO').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
        path = self.shelf / f'{name}-1.0.tar.gz'
        with tarfile.open(path, 'w:gz') as file:
            file.add(folder, folder.name)
        return path

    def wish(self, package):
        name, digest = (
            package.name.partition('-')[0],
            hashlib.sha256(package.read_bytes()).hexdigest(),
        )
        self.requirements.write_text(f'{name}==1.0 --hash=sha256:{digest}\n')

    def install(self, path):
        local = {
            'PIP_CONFIG_FILE': os.devnull,
            'PIP_NO_INDEX': '1',
            'PIP_FIND_LINKS': str(self.shelf),
            'UV_NO_INDEX': '1',
            'UV_FIND_LINKS': str(self.shelf),
            'UV_CACHE_DIR': str(self.directory / 'cache'),
            'UV_NO_CONFIG': '1',
        }
        command = [
            sys.executable,
            ROOT / 'tests' / 'install.py',
            self.directory / 'environment',
            self.requirements,
        ]
        environ = {**os.environ, **local, 'PATH': str(path)}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)

    def has(self, name):
        return (
            subprocess.run([self.python, '-c', f'import {name}'], capture_output=True).returncode
            == 0
        )


BY = pytest.mark.parametrize(
    ('by', 'path'), [('uv', Path(sys.executable).parent), ('pip', os.devnull)]
)


@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    return Shop(tmp_path_factory.mktemp('shop'))


@BY
def test_a_wheel_is_installed_by_uv_or_by_pip_where_there_is_no_uv(shop, by, path):
    shop.wish(shop.wheel(f'whole_{by}'))
    done = shop.install(path)
    assert done.returncode == 0, done.stderr
    assert shop.has(f'whole_{by}')
    assert 'once, and most of the wait' in done.stdout
    assert ('Not by uv' in done.stdout) == (by == 'pip')


@BY
def test_a_file_with_another_hash_is_not_installed(shop, by, path):
    wheel = shop.wheel(f'changed_{by}')
    shop.wish(wheel)
    wheel.write_bytes(wheel.read_bytes() + b' ')
    done = shop.install(path)
    assert done.returncode == 1
    assert 'hash' in done.stderr.lower()
    assert not shop.has(f'changed_{by}')


@BY
def test_a_source_is_not_compiled(shop, by, path):
    shop.wish(shop.source(f'source_{by}'))
    done = shop.install(path)
    assert done.returncode == 1
    assert 'could not be installed' in done.stderr
    assert not (shop.directory / 'compiled').exists()


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path):
    shop = Shop(tmp_path)
    shop.wish(shop.wheel('probe'))
    shop.python.parent.mkdir(parents=True)
    shop.python.symlink_to(tmp_path / 'gone')
    assert shop.install(Path(sys.executable).parent).returncode == 0
    assert shop.has('probe')


def test_an_old_python_is_told_what_is_needed(monkeypatch):
    monkeypatch.setattr(sys, 'version_info', (3, 10, 13))
    assert install.main().startswith('Python 3.11 or newer is needed')


def test_uv_looks_where_pip_was_told_to(monkeypatch, tmp_path):
    configuration = tmp_path / 'pip.conf'
    configuration.write_text(
        '[global]\nindex-url = https://mirror.example/simple\ncert = /etc/mirror.pem\n'
    )
    monkeypatch.setenv('PIP_CONFIG_FILE', str(configuration))
    for name in ('PIP_CERT', 'PIP_INDEX_URL', 'UV_DEFAULT_INDEX', 'SSL_CERT_FILE'):
        monkeypatch.delenv(name, raising=False)
    settings = install.pips_settings(sys.executable)
    assert settings['UV_DEFAULT_INDEX'] == 'https://mirror.example/simple'
    assert settings['SSL_CERT_FILE'] == '/etc/mirror.pem'
    monkeypatch.setenv('UV_DEFAULT_INDEX', 'https://other.example/simple')
    assert 'UV_DEFAULT_INDEX' not in install.pips_settings(sys.executable)
