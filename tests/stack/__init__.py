"""The servers and processes that `make run` and the tests stand on.

What is started here ends with this process, even if that is killed, and writes only into the
directories it is given.
"""

import json
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from .postgres import GivenPostgres, Postgres
from .procfile import ROOT, Processes
from .redis import GivenRedis, Redis
from .waiting import free_port, port_open, wait_until

__all__ = [
    'PHONE_NUMBER_ID',
    'ROOT',
    'GivenPostgres',
    'GivenRedis',
    'Postgres',
    'Processes',
    'Redis',
    'demo_env',
    'free_port',
    'port_open',
    'postgres_server',
    'redis_server',
    'wait_until',
]

PHONE_NUMBER_ID = '300112233445566'


def postgres_server(directory, given=None, **options):
    return GivenPostgres(given) if given else Postgres(directory, **options)


def redis_server(directory, given=None, **options):
    return GivenRedis(given) if given else Redis(directory, **options)


def demo_env(directory, **more):
    """The contract's environment for development; secrets are made once and kept in `directory`."""
    directory = Path(directory)
    kept = directory / 'secrets.json'
    if not kept.exists():
        made = {
            'WHATSAPP_APP_SECRET': secrets.token_hex(16),
            'WHATSAPP_VERIFY_TOKEN': secrets.token_urlsafe(12),
            'API_KEYS': f'demo-{secrets.token_urlsafe(12)}',
            'ENCRYPTION_KEYS': Fernet.generate_key().decode(),
        }
        directory.mkdir(parents=True, exist_ok=True)
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(made, indent=2) + '\n')
    made_once = json.loads(kept.read_text())
    return {**made_once, 'ALLOW_PRIVATE_URLS': 'yes', **more}
