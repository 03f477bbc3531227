"""The settings of a web process in which few callers may wait; for tests of those beyond."""

from service.web import waiting_calls
from service.web.server import *  # noqa: F403  gunicorn reads them here

waiting_calls.MOST = 3
