"""gunicorn's settings: `gunicorn -c python:service.web.server wsgi:app`."""

import os

from gunicorn.glogging import Logger

from service import config as environment
from service.config import settings as variables
from service.logs import Formatter

environment.check('web')

bind = f'0.0.0.0:{variables.PORT}'
workers = variables.WEB_CONCURRENCY or (os.cpu_count() or 1)
worker_class = 'service.web.door.Door'
threads = 16
preload_app = True  # one import for all workers, and a mistake in the environment stops the master with one line
keepalive = 75  # seconds; longer than the load balancers in front, which then never meet a closed connection
graceful_timeout = 25  # what the contract gives a SIGTERM
timeout = 30
control_socket_disable = True
worker_tmp_dir = '/dev/shm' if os.path.isdir('/dev/shm') else None  # noqa: S108


class OutcomesOnly(Logger):
    """No access log, nor the gathering of what would stand in it: each outcome has a line of its own."""

    def access(self, *request):
        pass


logger_class = OutcomesOnly
logconfig_dict = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'json': {'()': Formatter}},
    'handlers': {'stdout': {'class': 'logging.StreamHandler', 'formatter': 'json', 'stream': 'ext://sys.stdout'}},
    'root': {'level': variables.LOG_LEVEL, 'handlers': ['stdout']},
    'loggers': {'gunicorn.error': {'level': variables.LOG_LEVEL, 'propagate': True}},
}
