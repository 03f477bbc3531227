"""Pure: what the environment's variables may hold.

Each function reads the text of one kind of value. It raises ValueError, whose text goes on from the
variable's name and quotes nothing: the value may be a secret.
"""

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

from cryptography.fernet import Fernet
from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from redis import ConnectionPool, RedisError

PLACEHOLDERS = frozenset(
    {
        '0123456789abcdef0123456789abcdef',
        'choose-a-long-random-word',
        'choose-a-long-random-key',
        'put-a-generated-key-here',
        'sk-your-key',
    }
)  # the secrets of .env.example; a test holds the two together
UNSEEN = re.compile(r'[\x00-\x1f\x7f-\xa0\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]')
N = TypeVar('N', int, float)
QUOTES = ('"', "'")
GRAPH_VERSION = re.compile(r'v[0-9]{1,3}\.[0-9]{1,2}')


def text(value: str) -> str:
    """One line of visible characters: for a header, or to be compared with what somebody typed."""
    if UNSEEN.search(value):
        raise ValueError('holds a character that cannot be seen (a line end, a tab or the like)')
    return value


def secret(value: str) -> str:
    """A text that is not the one of .env.example: what everybody can read guards nothing.

    Nor one in quotes: docker's --env-file, for one, leaves them there.
    """
    if value in PLACEHOLDERS:
        raise ValueError('is still the example of .env.example: put your own there')
    if value[0] in QUOTES or value[-1] in QUOTES:  # of a list, only the first or last has one
        raise ValueError('stands in quotes, which would be a part of it: take them away')
    return text(value)


def secrets(value: str) -> tuple[str, ...]:
    """Comma separated, at least one."""
    parts = tuple(secret(part.strip()) for part in value.split(',') if part.strip())
    if not parts:
        raise ValueError('holds no value')
    return parts


def graph_version(value: str) -> str:
    if not GRAPH_VERSION.fullmatch(value):
        raise ValueError('must be a version of the Graph API, like v26.0')
    return value


def graph_url(value: str) -> str:
    """The base of every Graph call: a path, a version and an id are put behind it."""
    value = url('http', 'https')(value)
    parts = urlsplit(value)
    more = (parts.query, parts.fragment, parts.username, parts.password)
    if any(more) or '?' in value or '#' in value:
        raise ValueError('must be a scheme, a host and at most a path: https://graph.facebook.com')
    if GRAPH_VERSION.fullmatch(parts.path.rpartition('/')[2]):
        raise ValueError('must not end in a version: that is GRAPH_API_VERSION')
    return value


def number(kind: type[N], minimum: N, maximum: N) -> Callable[[str], N]:
    def read(value: str) -> N:
        try:
            parsed = kind(value)
        except ValueError:
            raise ValueError(f'must be a number, {minimum} to {maximum}') from None
        if not minimum <= parsed <= maximum:
            raise ValueError(f'must be {minimum} to {maximum}')
        return parsed

    return read


def url(*schemes: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        parts = _split(value)
        if parts.scheme not in schemes:
            raise ValueError(f'must begin with {" or ".join(s + "://" for s in schemes)}')
        socket = parse_qs(parts.query).get('host') or (parts.scheme == 'unix' and parts.path)
        if not parts.hostname and not socket:
            raise ValueError('names neither a host nor a socket')
        return value.rstrip('/') if parts.scheme.startswith('http') else value

    return read


def _split(value: str) -> SplitResult:
    """The parts of a URL. What urllib says of a bad one quotes it, password and all; we do not."""
    if UNSEEN.search(value) or ' ' in value:
        raise ValueError('is not a URL')  # urlsplit drops line ends in silence
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises when it is not a number
    except ValueError:
        raise ValueError('is not a URL') from None
    return parts


def database_url(value: str) -> str:
    """Heroku writes postgres://, libpq wants postgresql://."""
    value = 'postgresql://' + url('postgres', 'postgresql')(value).split('://', 1)[1]
    if _split(value).netloc.count('@') > 1:
        raise ValueError('has more than one "@": one within a name or a secret is written as %40')
    try:
        parse_dsn(value)
    except ProgrammingError:  # its text quotes the part, which may be the password
        told = "is not one of PostgreSQL's: see its percent signs and what stands behind the ?"
        raise ValueError(told) from None
    return value


def redis_url(value: str) -> str:
    """One of which redis-py makes a connection; nothing is connected here."""
    value = url('redis', 'rediss', 'unix')(value)
    try:
        ConnectionPool.from_url(value).make_connection()
    except (TypeError, ValueError, RedisError):  # some quote what is behind the ?
        told = "is not one of redis-py's: see what stands behind the ?"
        raise ValueError(told) from None
    return value


def media_url(value: str) -> str:
    """Where files are kept.

    file:///directory, file:directory (in the working directory) or s3://bucket/prefix.
    """
    parts = _split(value)
    if parts.scheme not in ('file', 's3'):
        raise ValueError('must begin with file: or s3://')
    if parts.scheme == 's3' and not parts.netloc:
        raise ValueError('names no bucket')
    if parts.scheme == 's3' and not find_spec('boto3'):
        raise ValueError('is of S3, for which boto3 is needed: pip install -r requirements-s3.txt')
    if parts.scheme == 'file' and (parts.netloc or not parts.path):
        told = 'must be file:///directory, or file:directory for one of the working directory'
        raise ValueError(told)
    return value


def url_for(package: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if not find_spec(package):
            raise ValueError(f'is for {package}, which is not installed: see docs/tracing.md')
        return url('http', 'https')(value)

    return read


def fernet_keys(value: str) -> tuple[str, ...]:
    for key in secrets(value):
        try:
            Fernet(key)
        except Exception:
            told = 'must be Fernet keys (32 bytes, url-safe base64), comma separated'
            raise ValueError(told) from None
    return secrets(value)


def yes_or_no(value: str) -> bool:
    if value.lower() not in ('yes', 'no'):
        raise ValueError('must be yes or no')
    return value.lower() == 'yes'


def auto_or_no(value: str) -> str:
    if value.lower() not in ('auto', 'no'):
        raise ValueError('must be auto or no')
    return value.lower()


def log_level(value: str) -> str:
    if value.upper() not in ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'):
        raise ValueError('must be DEBUG, INFO, WARNING, ERROR or CRITICAL')
    return value.upper()
