"""Errors to Sentry, where SENTRY_DSN is set: what went wrong and where, not what was in it.

Off, as it is by default, nothing is imported.
"""

import logging
from importlib import import_module
from typing import Any

from service.runtime.config import settings
from service.runtime.logs import NUMBER

EXIT_SECONDS = 2
# Of an event; whatever else is in it may quote a message, a number or a secret.
KEPT = (
    *('event_id', 'timestamp', 'platform', 'level', 'logger', 'release', 'environment'),
    *('server_name', 'sdk', 'tags', 'contexts', 'type'),
)
KEPT_CONTEXTS = ('runtime', 'os', 'trace')
KEPT_OF_FRAME = ('filename', 'abs_path', 'function', 'module', 'lineno', 'in_app')


def start(process: str, transport: Any = None) -> None:
    """Report errors of this process, `web` or a worker's name. `transport`: Sentry's own without.

    Raises nothing when Sentry is away: reports are lost then.
    """
    if not settings.SENTRY_DSN:
        return
    sentry = import_module('sentry_sdk')
    of_logs = import_module('sentry_sdk.integrations.logging').LoggingIntegration
    # Its send_default_pii is off by itself; to name it is deprecated.
    sentry.init(
        settings.SENTRY_DSN,
        transport=transport,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size='never',
        max_breadcrumbs=0,
        # All errors of ours are logged; the others would add headers to calls of Meta's API.
        default_integrations=False,
        integrations=[of_logs(level=None, event_level=logging.ERROR)],
        before_send=without_content,
    )
    sentry.set_tag('process', process)


def stop() -> None:
    """Hand over the last reports of a process that ends."""
    if settings.SENTRY_DSN:
        import_module('sentry_sdk').flush(EXIT_SECONDS)


def without_content(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """Sentry's hook: of an event only what is ours."""
    found = {name: event[name] for name in KEPT if name in event}
    contexts = event.get('contexts') or {}
    found['contexts'] = {name: contexts[name] for name in KEPT_CONTEXTS if name in contexts}
    if message := (event.get('logentry') or {}).get('message') or event.get('message'):
        found['logentry'] = {'message': NUMBER.sub('…', message)}
    if exceptions := (event.get('exception') or {}).get('values'):
        found['exception'] = {'values': [_without_text(one) for one in exceptions]}
    return found


def _without_text(exception: dict[str, Any]) -> dict[str, Any]:
    """An exception without its text, which may quote what was to be stored."""
    frames = (exception.get('stacktrace') or {}).get('frames') or []
    return {
        'type': exception.get('type'),
        'module': exception.get('module'),
        'stacktrace': {'frames': [_of_frame(frame) for frame in frames]},
    }


def _of_frame(frame: dict[str, Any]) -> dict[str, Any]:
    return {name: frame[name] for name in KEPT_OF_FRAME if name in frame}
