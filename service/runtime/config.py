"""The environment, read in this file alone: typed, loud at boot, one line per mistake."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.runtime.env_values import (
    auto_or_no,
    database_url,
    fernet_keys,
    graph_url,
    graph_version,
    log_level,
    media_url,
    number,
    redis_url,
    secret,
    secrets,
    text,
    url,
    url_for,
    yes_or_no,
)


class ConfigError(Exception):
    """An environment variable is missing or malformed; the text names it."""


class MissingError(ConfigError):
    """A required one is missing."""


REQUIRED = object()
VARIABLES: dict[str, tuple[Callable[[str], object], object]] = {
    'DATABASE_URL': (database_url, REQUIRED),
    'DATABASE_PREPARE': (auto_or_no, 'auto'),
    'REDIS_URL': (redis_url, REQUIRED),
    'REDIS_TLS_VERIFY': (yes_or_no, 'yes'),
    'PORT': (number(int, 1, 65535), '8000'),
    'WEB_CONCURRENCY': (number(int, 1, 256), None),
    'WHATSAPP_APP_SECRET': (secrets, REQUIRED),
    'WHATSAPP_VERIFY_TOKEN': (secret, REQUIRED),
    'API_KEYS': (secrets, REQUIRED),
    'ENCRYPTION_KEYS': (fernet_keys, REQUIRED),
    'GRAPH_API_URL': (graph_url, 'https://graph.facebook.com'),
    'GRAPH_API_VERSION': (graph_version, 'v26.0'),
    'GRAPH_TIMEOUT': (number(float, 0.1, 120), '20'),
    'SEND_CONCURRENCY': (number(int, 1, 1024), '32'),
    'SEND_RATE': (number(int, 1, 100000), '80'),
    'UNKNOWN_GRACE_SECONDS': (number(float, 0, 604800), '120'),
    'MAX_QUEUED': (number(int, 1, 100000000), '100000'),
    'RESPONDER_TIMEOUT': (number(float, 0.1, 300), '30'),
    'ALLOW_PRIVATE_URLS': (yes_or_no, 'no'),
    'REPLY_QUIET_SECONDS': (number(float, 0, 3600), '1'),
    'MEDIA_URL': (media_url, 'file:media'),
    'AI_BASE_URL': (url('http', 'https'), None),
    'AI_API_KEY': (secret, None),
    'AI_MODEL': (text, None),
    'METRICS_TOKEN': (secret, None),
    'OTEL_EXPORTER_OTLP_ENDPOINT': (url_for('opentelemetry'), None),
    'SENTRY_DSN': (url_for('sentry_sdk'), None),
    'LOG_LEVEL': (log_level, 'INFO'),
}
NEEDED_BY = {
    'release': ('DATABASE_URL',),
    'web': (
        'DATABASE_URL',
        'REDIS_URL',
        'WHATSAPP_APP_SECRET',
        'WHATSAPP_VERIFY_TOKEN',
        'API_KEYS',
        'ENCRYPTION_KEYS',
    ),
    'worker': ('DATABASE_URL', 'REDIS_URL', 'ENCRYPTION_KEYS'),
    'clock': ('DATABASE_URL', 'REDIS_URL'),
    'command': ('DATABASE_URL', 'REDIS_URL', 'ENCRYPTION_KEYS'),
}


class Settings:
    """`settings.PORT` and so on: each variable is read and checked at its first use, then kept."""

    DATABASE_URL: str
    DATABASE_PREPARE: str
    REDIS_URL: str
    REDIS_TLS_VERIFY: bool
    PORT: int
    WEB_CONCURRENCY: int | None
    WHATSAPP_APP_SECRET: tuple[str, ...]
    WHATSAPP_VERIFY_TOKEN: str
    API_KEYS: tuple[str, ...]
    ENCRYPTION_KEYS: tuple[str, ...]
    GRAPH_API_URL: str
    GRAPH_API_VERSION: str
    GRAPH_TIMEOUT: float
    SEND_CONCURRENCY: int
    SEND_RATE: int
    UNKNOWN_GRACE_SECONDS: float
    MAX_QUEUED: int
    RESPONDER_TIMEOUT: float
    ALLOW_PRIVATE_URLS: bool
    REPLY_QUIET_SECONDS: float
    MEDIA_URL: str
    AI_BASE_URL: str | None
    AI_API_KEY: str | None
    AI_MODEL: str | None
    METRICS_TOKEN: str | None
    OTEL_EXPORTER_OTLP_ENDPOINT: str | None
    SENTRY_DSN: str | None
    LOG_LEVEL: str

    def __getattr__(self, name: str) -> object:
        try:
            read, default = VARIABLES[name]
        except KeyError:
            raise AttributeError(name) from None
        # a copied secret often has a line end
        value: object = os.environ.get(name, '').strip() or default
        if value is REQUIRED:
            raise MissingError(f'{name} is missing: see .env.example')
        if isinstance(value, str):
            try:
                value = read(value)
            except ValueError as error:
                raise ConfigError(f'{name} {error}') from None
        setattr(self, name, value)
        return value

    def forget(self) -> None:
        """Read the environment anew at the next use (tests)."""
        vars(self).clear()


settings = Settings()


def check(process: str) -> None:
    """Stop a process whose environment is missing or wrong, with a line that names the variable."""
    try:
        for name, (_, default) in VARIABLES.items():
            if default is not REQUIRED or name in NEEDED_BY[process]:
                getattr(settings, name)
    except ConfigError as error:
        sys.exit(str(error))


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """Keep a variable from what runs within the block: some packages read it as they load."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value
