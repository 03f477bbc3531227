"""The environment: every variable is there and well formed, and fit for production."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from service.doctor.check import Check, fail, ok, warn
from service.runtime.config import VARIABLES, ConfigError, settings

NAME = 'environment'
META_HOST = 'graph.facebook.com'
FIX = 'Set it where the processes get their environment from; .env.example has a line for each.'


def look() -> Iterator[Check]:
    problems = [problem for name in VARIABLES if (problem := _problem(name))]
    if problems:
        yield fail(NAME, f'{"; ".join(problems)}.', FIX)
        return
    host = urlsplit(settings.GRAPH_API_URL).hostname
    if host != META_HOST:
        yield ok(NAME, f'All variables are well formed; the Graph API is that of {host}.')
    elif settings.ALLOW_PRIVATE_URLS:
        detail = 'ALLOW_PRIVATE_URLS=yes lets responders and endpoints have private addresses.'
        yield warn(NAME, detail, 'Take it away: it is for development.')
    else:
        yield ok(NAME, 'All variables are well formed.')


def _problem(name: str) -> str | None:
    try:
        getattr(settings, name)
    except ConfigError as error:
        return str(error).removesuffix(': see .env.example')
    return None
