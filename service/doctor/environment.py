"""The environment: every variable is there and well formed, and fit for production."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from service.doctor.check import Check, fail, ok, warn
from service.runtime.config import NEEDED_BY, VARIABLES, ConfigError, MissingError, settings

NAME = 'environment'
META_HOST = 'graph.facebook.com'
FIX = 'Set it where the processes get their environment from; .env.example has a line for each.'


def look() -> Iterator[Check]:
    problems = {name: error for name in VARIABLES if (error := _error(name))}
    told = '; '.join(str(error).removesuffix(': see .env.example') for error in problems.values())
    if any(_stops_all(name, error) for name, error in problems.items()):
        yield fail(NAME, f'{told}.', FIX)
    elif problems:
        yield warn(NAME, f'web cannot start in this environment: {told}.', FIX)
    else:
        yield _fit_for_production()


def _error(name: str) -> ConfigError | None:
    try:
        getattr(settings, name)
    except ConfigError as error:
        return error
    return None


def _stops_all(name: str, error: ConfigError) -> bool:
    """Whether it is more than what the workers' environment may lack."""
    return name in NEEDED_BY['command'] or not isinstance(error, MissingError)


def _fit_for_production() -> Check:
    host = urlsplit(settings.GRAPH_API_URL).hostname
    if host != META_HOST:
        return ok(NAME, f'All variables are well formed; the Graph API is that of {host}.')
    if settings.ALLOW_PRIVATE_URLS:
        detail = 'ALLOW_PRIVATE_URLS=yes lets responders and endpoints have private addresses.'
        return warn(NAME, detail, 'Take it away: it is for development.')
    return ok(NAME, 'All variables are well formed.')
