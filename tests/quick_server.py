"""gunicorn's settings as in service/web/server.py, for a door whose patience is short and whose
room is small.
"""

from service.web import callers, door
from service.web.server import *  # noqa: F403

callers.HEAD_SECONDS, callers.STALL_SECONDS, callers.LEAST_RATE = 1, 1.5, 4096
door.GATHER_BYTES_IN_ALL = 1024 * 1024
worker_connections = 40
