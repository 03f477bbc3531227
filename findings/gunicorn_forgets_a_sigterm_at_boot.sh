#!/usr/bin/env bash
# gunicorn 27.0.1: a worker keeps its master's signal handler from the fork until init_signals(). That handler puts a
# SIGTERM into the worker's own copy of the master's queue, which nobody reads: the worker starts, serves on, and its
# master waits the whole graceful_timeout before it kills it. With preload_app it happens to whoever stops a server in
# the moment after its start, as a deployment that replaces a dyno does. A worker that has booted ends at once.
# Prints how long each took, graceful_timeout being 6 s. Exits with 1 when gunicorn does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/env"
"$directory/env/bin/pip" install -q --disable-pip-version-check gunicorn==27.0.1
cat > "$directory/app.py" << 'PYTHON'
def app(environ, start_response):
    start_response('200 OK', [])
    return []
PYTHON
cat > "$directory/settings.py" << 'PYTHON'
import os
import time

bind = 'unix:' + os.environ['SOCKET']
graceful_timeout = 6
preload_app = True
control_socket_disable = True


def post_fork(server, worker):
    time.sleep(1.5)  # a slow machine: the handler runs meanwhile, the sleep goes on
PYTHON
"$directory/env/bin/python" - "$directory" << 'PYTHON'
import os
import signal
import subprocess
import sys
import time

directory = sys.argv[1]


def seconds_to_end(seconds_after_fork):
    command = [f'{directory}/env/bin/gunicorn', '-c', 'settings.py', 'app:app']
    log, environ = subprocess.PIPE, os.environ | {'SOCKET': f'{directory}/socket'}
    server = subprocess.Popen(command, cwd=directory, stderr=log, text=True, env=environ)
    while 'Booting worker' not in server.stderr.readline():
        pass
    time.sleep(seconds_after_fork)
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    server.communicate()
    return time.monotonic() - began


booting, booted = seconds_to_end(0.5), seconds_to_end(4)
print(f'SIGTERM while a worker boots: {booting:.1f} s; after it has booted: {booted:.1f} s')
sys.exit(not booting > 5.5 > 4 > booted)
PYTHON
