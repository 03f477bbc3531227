"""A whole gateway whose user of Redis may do no more than deploy/redis.acl says."""

import re

import pytest
from redis import Redis, RedisError

from tests import stack
from tests.gateway import Gateway
from tests.stack import ROOT, wait_until

LINE = (ROOT / 'deploy' / 'redis.acl').read_text().strip()
EXAMPLE = 'choose-a-long-random-password'
OTHERS = 'user default off\nuser admin on >admin ~* &* +@all\n'
STRANGE = (
    ('SET', 'other', '1'),
    ('GET', 'other'),
    ('KEYS', '*'),
    ('SCAN', '0'),
    ('FLUSHALL',),
    ('CONFIG', 'SET', 'maxmemory', '1'),
    ('CLIENT', 'LIST'),
    ('SHUTDOWN',),
    ('PUBLISH', 'other', '1'),
    ('EVAL', "return redis.call('GET', 'other')", '0'),
)  # a taker-over of the gateway tries these


def test_the_document_shows_the_line():
    assert LINE.split() == shown().split()


def shown():
    text = (ROOT / 'docs' / 'deploying.md').read_text()
    return re.search(r'^(user gateway .*?)```', text, re.MULTILINE | re.DOTALL)[1]


class Guarded(stack.Redis):
    """A Redis that knows no user but the gateway's and an administrator."""

    def __init__(self, directory):
        super().__init__(directory)
        self.address = f'127.0.0.1:{self.port}/0'
        self.url = f'redis://gateway:s3cret@{self.address}'

    def options(self):
        file = self.directory / 'users.acl'
        file.write_text(f'{LINE.replace(EXAMPLE, "s3cret")}\n{OTHERS}')
        return ['--aclfile', str(file)]


def test_the_line_is_enough_for_both_journeys_and_for_nothing_else(tmp_path):
    gateway = Gateway(tmp_path)
    gateway.redis = Guarded(tmp_path / 'redis')
    gateway.processes.env['REDIS_URL'] = gateway.redis.url
    with gateway:
        gateway.backend.account()
        gateway.stand_in.customer_writes('Is it open today?')
        gateway.backend.send('+19991310048')  # a brake
        gateway.backend.send('+12025550161')
        wait_until(lambda: len(settled(gateway)) == 4, 30, message=gateway.last_lines)
        gateway.restart('worker_send')
        wait_until(gateway.is_whole, 30)
        gateway.backend.post('/account/acme/brakes/lift', {})
        diagnostics = gateway.backend.get('/account/acme/diagnostics').json['checks']
        assert [one['result'] for one in diagnostics if one['check'] == 'redis'] == ['ok']
        gateway.processes.stop_all()
        with Redis.from_url(f'redis://admin:admin@{gateway.redis.address}') as admin:
            assert [entry['object'] for entry in admin.acl_log()] == []
        with Redis.from_url(gateway.redis.url) as client:
            for words in STRANGE:
                with pytest.raises(RedisError, match='(?i)permission'):
                    client.execute_command(*words)


def settled(gateway):
    return [one for one in gateway.backend.messages() if one['status'] not in ('queued', 'sending')]
