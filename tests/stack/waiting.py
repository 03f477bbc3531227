"""Ports, and waiting for what takes a moment."""

import contextlib
import fcntl
import functools
import os
import random
import socket
import time

_reserved = set()


def free_port(preferred=None):
    """A TCP port free on 127.0.0.1.

    Below the kernel's range for outgoing connections: a client that knocks at a stopped server's
    port in that range can connect to itself and keep the server from coming back.
    """
    for port in [preferred] * (preferred is not None) + random.sample(range(20000, 32000), 200):
        if port != preferred and not _reserve(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(('127.0.0.1', port))
                return port
    raise RuntimeError('no free TCP port between 20000 and 32000')


def _reserve(port):
    """Whether no other process was given the port and may be about to use it: until ours ends."""
    if port in _reserved:
        return False
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    _reserved.add(port)
    return True


@functools.cache
def _reservations():
    """A file of all processes of this user, of which each locks a byte for each of its ports."""
    return os.open(f'/tmp/free-ports-{os.getuid()}', os.O_CREAT | os.O_WRONLY, 0o600)


def wait_until(condition, timeout=30, interval=0.02, message='condition not met'):
    """The first true value of condition(); after `timeout` s AssertionError with the message or
    what message() says.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f'{message() if callable(message) else message} (waited {timeout} s)'
            )
        time.sleep(interval)
    return value


def port_open(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(('127.0.0.1', port)) == 0
