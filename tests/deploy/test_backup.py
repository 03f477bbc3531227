"""A backup is `pg_dump` of the running gateway, the files and the ENCRYPTION_KEYS; nothing else."""

import shutil
import subprocess

import pytest

from tests.gateway import Gateway
from tests.stack import wait_until
from tests.stack.postgres import postgres_bin

KEPT = ('WHATSAPP_APP_SECRET', 'WHATSAPP_VERIFY_TOKEN', 'API_KEYS', 'ENCRYPTION_KEYS')
needs_pg_dump = pytest.mark.skipif(
    not (postgres_bin() / 'pg_dump').exists(), reason='NO BACKUP WAS TRIED: no pg_dump is here'
)


def run(program, *words):
    subprocess.run([postgres_bin() / program, *words], check=True, timeout=120)


def texts(gateway):
    return {one['content']['body']: one['status'] for one in gateway.backend.messages()}


@needs_pg_dump
def test_a_gateway_goes_on_from_a_backup_of_a_running_one(tmp_path):
    dump = tmp_path / 'gateway.dump'
    with Gateway(tmp_path / 'old') as old:
        old.backend.account()
        old.stand_in.customer_writes('Is it open today?')
        wait_until(lambda: texts(old).get('You said: Is it open today?') == 'read', 30)
        old.processes.stop('worker_send')
        waiting = old.backend.send('+12025550161', 'Your order is ready')
        run('pg_dump', '--format=custom', f'--file={dump}', old.postgres.url)
        old.backend.send('+12025550162', 'Too late for the backup')
        kept = {name: old.processes.env[name] for name in KEPT}

    new = Gateway(tmp_path / 'new', **kept)
    new.postgres.start()
    run('pg_restore', '--no-owner', '--exit-on-error', f'--dbname={new.postgres.url}', dump)
    with new:  # its release finds nothing to do, its Redis is empty
        wait_until(lambda: new.backend.message(waiting['id'])['status'] == 'read', 30)
        assert texts(new) == {
            'Is it open today?': 'received',
            'You said: Is it open today?': 'read',
            'Your order is ready': 'read',
        }
        found = new.backend.messages(chatbot_id='acme', q='open')
        assert len(found) == 2
        new.stand_in.customer_writes('And tomorrow?')
        wait_until(lambda: texts(new).get('You said: And tomorrow?') == 'read', 30)
        assert len(new.backend.conversations()) == 2
    shutil.rmtree(tmp_path / 'old')
