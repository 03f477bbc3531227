"""Redis: whether it answers, is new enough, and forgets nothing to save memory."""

from collections.abc import Iterator
from typing import Any

from redis import RedisError
from redis.exceptions import NoPermissionError

from service.doctor.check import Check, fail, ok, warn
from service.runtime.config import settings
from service.runtime.queues import client

NAME = 'redis'
OLDEST_VERSION = 5  # that RQ takes


def look() -> Iterator[Check]:
    _ = settings.REDIS_URL  # raises ConfigError before anything else does
    try:
        client().ping()
        info: dict[str, Any] = client().info()
    except NoPermissionError:
        fix = "Let its user run INFO: ACL SETUSER … +info; the gateway's work does not need it."
        yield warn(NAME, 'Redis answers, but does not say its version and settings.', fix)
        return
    except RedisError as error:
        fix = 'Start Redis, or mend REDIS_URL; without it all work is some seconds late.'
        yield fail(NAME, f'Redis cannot be used ({type(error).__name__}).', fix)
        return
    yield _judge(info)


def _judge(info: dict[str, Any]) -> Check:
    version = str(info.get('redis_version', ''))
    major = version.partition('.')[0]
    if major.isdigit() and int(major) < OLDEST_VERSION:
        return fail(NAME, f'Redis is of version {version}.', 'Upgrade it: 7 is tried.')
    policy = info.get('maxmemory_policy', 'noeviction')
    if policy != 'noeviction' and info.get('maxmemory'):
        detail = f'Redis may forget wake-ups and brakes: its maxmemory-policy is {policy}.'
        return warn(NAME, detail, 'Set maxmemory-policy to noeviction.')
    return ok(NAME, f'{_name(info)} answers.')


def _name(info: dict[str, Any]) -> str:
    if valkey := info.get('valkey_version'):
        return f'Valkey {valkey}'
    return f'Redis {info.get("redis_version", "of an unknown version")}'
