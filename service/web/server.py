"""gunicorn's settings: `python -m service.web.gunicorn -c python:service.web.server wsgi:app`."""

import os
import socket
import sys
import threading
from typing import Any

from gunicorn.glogging import Logger

from service.runtime import collector, error_reports, heartbeat, tracing
from service.runtime import config as environment
from service.runtime.config import settings as variables
from service.runtime.logs import Formatter, on_thread_failure

environment.check('web')


def addresses(port: int) -> list[str]:
    """Every address of the machine, of IPv6 and of IPv4, as far as it has them."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(('::', 0))
            is_ipv6_only = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [f'0.0.0.0:{port}']
    return [f'[::]:{port}', *([f'0.0.0.0:{port}'] if is_ipv6_only else [])]


bind = addresses(variables.PORT)
workers = variables.WEB_CONCURRENCY or (os.cpu_count() or 1)
worker_class = 'service.web.door.Door'
threads = 16
# one import for all workers, and a mistake in the environment stops the master with one line
preload_app = True
# seconds; Heroku's router keeps a connection for 90, and must never meet one that is being closed
keepalive = 100
graceful_timeout = 25  # what the contract gives a SIGTERM
timeout = 30
control_socket_disable = True
worker_tmp_dir = '/dev/shm' if os.path.isdir('/dev/shm') else None  # noqa: S108


def when_ready(server: Any) -> None:
    """gunicorn's hook, in the master, which has loaded all by now."""
    threading.excepthook = on_thread_failure
    collector.settle()


def post_fork(server: Any, worker: Any) -> None:
    """gunicorn's hook: let a worker know what its master heard before the worker listened."""
    worker.heard_before = server.SIG_QUEUE


def pre_exec(server: Any) -> None:
    """gunicorn's hook at SIGUSR2: start the next master as this one was started.

    Of `python -m` gunicorn would make the path of the file, beside which ours hide its own modules.
    """
    server.START_CTX['args'] = [sys.executable, *sys.orig_argv[1:]]


def worker_exit(server: Any, worker: Any) -> None:
    """gunicorn's hook, in a worker that ends: keep what it has counted."""
    heartbeat.leave()
    tracing.stop()
    error_reports.stop()


class OutcomesOnly(Logger):
    """gunicorn's logger without an access log: each outcome has a line of its own."""

    def access(self, *request: object) -> None:
        pass


logger_class = OutcomesOnly
logconfig_dict = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'json': {'()': Formatter}},
    'handlers': {
        'stdout': {
            'class': 'logging.StreamHandler',
            'formatter': 'json',
            'stream': 'ext://sys.stdout',
        }
    },
    'root': {'level': variables.LOG_LEVEL, 'handlers': ['stdout']},
    'loggers': {'gunicorn.error': {'level': variables.LOG_LEVEL, 'propagate': True}},
}
