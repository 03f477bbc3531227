"""The files of deploy/ say what the Procfile says, and what they say can be read by its reader."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml
from honcho.environ import parse_procfile

from service.runtime.config import NEEDED_BY, VARIABLES
from tests.stack import ROOT

DEPLOY = ROOT / 'deploy'
PROCFILE = dict(parse_procfile((ROOT / 'Procfile').read_text()).processes)
DOCKERFILE = (DEPLOY / 'Dockerfile').read_text()
COMPOSE = yaml.safe_load((DEPLOY / 'compose.yml').read_text())
SERVICES = COMPOSE['services']
UNITS = sorted((DEPLOY / 'systemd').glob('*.service'))
SOCKET = DEPLOY / 'systemd' / 'whatsapp-gateway-web.socket'
MOST_EXPOSURE = 2.0  # of systemd's own scale to 10


def instructions(name):
    """The arguments of each such instruction of the Dockerfile."""
    joined = DOCKERFILE.replace('\\\n', ' ')
    return re.findall(rf'^{name} +(.*)$', joined, re.MULTILINE)


# ---- Dockerfile


def test_the_image_is_made_of_a_named_version_and_runs_as_nobody_in_particular():
    bases = {line.split()[0] for line in instructions('FROM')}
    assert bases == {'python:3.13-slim-bookworm'}
    (user,) = instructions('USER')
    assert (
        f'useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin {user}'
        in (instructions('RUN')[1])
    )
    assert '--require-hashes' in instructions('RUN')[0]


def test_the_image_starts_web_and_asks_whether_it_lives():
    assert shlex.join(json.loads(instructions('CMD')[-1])) == PROCFILE['web']
    (check,) = instructions('HEALTHCHECK')
    python, flag, program = json.loads(check.partition('CMD ')[2])
    assert (python, flag) == ('python', '-c')
    compile(program, 'HEALTHCHECK', 'exec')
    assert '/healthz' in program


def copied():
    """The files and folders of the repository that the image holds."""
    lines = [line.split() for line in instructions('COPY') if '--from' not in line]
    return [Path(name) for *names, _ in lines for name in names]


def test_what_is_copied_is_there_and_is_not_ignored():
    ignored, *kept = [
        line
        for line in (ROOT / '.dockerignore').read_text().splitlines()
        if not line.startswith('#')
    ]
    assert ignored == '*'
    assert {f'!{name}' for name in copied()} == {name for name in kept if name.startswith('!')}
    assert all((ROOT / name).exists() for name in copied())


# ---- compose.yml


def test_every_command_of_compose_is_that_of_the_procfile():
    ours = {name: one for name, one in SERVICES.items() if one.get('image') == 'whatsapp-gateway'}
    assert {name: one['command'] for name, one in ours.items()} == PROCFILE
    for name, one in ours.items():
        assert one['build'] == {'context': '..', 'dockerfile': 'deploy/Dockerfile'}
        assert (one['read_only'], one['cap_drop']) == (True, ['ALL'])
        assert set(one['environment']) <= set(VARIABLES), name
        seconds = int(one['stop_grace_period'].removesuffix('s'))
        assert seconds > 25


def test_the_release_comes_before_all_and_the_servers_before_it():
    for name in set(PROCFILE) - {'release'}:
        assert SERVICES[name]['depends_on']['release'] == {
            'condition': 'service_completed_successfully'
        }
    assert SERVICES['release']['depends_on'] == {'postgres': {'condition': 'service_healthy'}}
    assert SERVICES['release']['restart'] == 'no'
    assert {'postgres', 'valkey'} <= {
        name for name, one in SERVICES.items() if 'healthcheck' in one
    }


def test_servers_have_versions_and_only_web_is_seen_on_this_machine_alone():
    for one in SERVICES.values():
        if one['image'] != 'whatsapp-gateway':
            assert re.fullmatch(r'[a-z/]+:\d+-bookworm', one['image'])
    assert {name: one['ports'] for name, one in SERVICES.items() if 'ports' in one} == {
        'web': ['127.0.0.1:8000:8000']
    }


# ---- systemd


def read(unit):
    parser = RawConfigParser(strict=True)
    parser.optionxform = str
    parser.read(unit)
    return parser


def test_there_is_a_unit_for_every_line_of_the_procfile():
    found = {}
    for unit in UNITS:
        name = unit.stem.removeprefix('whatsapp-gateway-').replace('-', '_')
        command = read(unit)['Service']['ExecStart']
        found[name] = command.removeprefix('/srv/whatsapp-gateway/.venv/bin/')
    assert found == PROCFILE


@pytest.mark.parametrize('unit', UNITS, ids=lambda unit: unit.stem)
def test_units_wait_for_the_release_and_give_a_sigterm_its_time(unit):
    service = read(unit)['Service']
    assert service['EnvironmentFile'] == '/etc/whatsapp-gateway.env'
    if unit.stem.endswith('release'):
        assert service['Type'] == 'oneshot'
        return
    needed = 'whatsapp-gateway-release.service'
    assert needed in read(unit)['Unit']['Wants'].split()
    assert needed in read(unit)['Unit']['After'].split()
    assert int(service['TimeoutStopSec']) > 25
    assert service['Restart'] == 'always'


@pytest.mark.skipif(
    not shutil.which('systemd-analyze'),
    reason='THE UNITS WERE NOT READ BY SYSTEMD, which is not installed: apt-get install systemd',
)
def test_systemd_takes_the_units_and_finds_them_hard_to_break_out_of(tmp_path):
    for unit in (*UNITS, SOCKET):
        text = unit.read_text().replace('/srv/whatsapp-gateway/.venv', sys.prefix)
        (tmp_path / unit.name).write_text(text.replace('/srv/whatsapp-gateway', str(ROOT)))
    assert said('verify', '--man=no', *map(str, tmp_path.iterdir())) == ''
    for unit in map(str, tmp_path.glob('*.service')):
        told = said('security', '--offline=true', '--no-pager', unit)
        assert float(re.search(r'exposure level for \S+ ([0-9.]+)', told)[1]) <= MOST_EXPOSURE


def said(*words):
    done = subprocess.run(
        ['systemd-analyze', *words], capture_output=True, text=True, timeout=60, check=True
    )
    return (done.stdout + done.stderr).strip()


def test_the_port_of_web_stays_open_while_web_is_restarted():
    web = next(unit for unit in UNITS if unit.stem == SOCKET.stem)
    assert read(web)['Unit']['Requires'] == SOCKET.name
    assert read(SOCKET)['Socket']['ListenStream'] == '127.0.0.1:8000'


# ---- app.json


def test_heroku_and_dokku_run_the_procfile():
    app = json.loads((ROOT / 'app.json').read_text())
    assert set(app['formation']) == set(PROCFILE) - {'release'}
    required = {name for name, one in app['env'].items() if one.get('required', True)}
    given = {'DATABASE_URL', 'REDIS_URL'}  # by the add-ons
    assert set(NEEDED_BY['web']) - given <= required
