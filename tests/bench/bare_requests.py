"""The bare reference of sending: THREADS threads that post as fast as they are answered, and
nothing else.

`python -m tests.bench.bare_requests requests|urllib3 URL COUNT`: bodies like ours, made before the
first call. Each thread has its Session; with urllib3 they share one pool.
"""

import json
import sys
import threading
import uuid

THREADS = 64
HEADERS = {'Authorization': 'Bearer bench-token', 'Content-Type': 'application/json'}


def bodies(count):
    for number in range(count):
        yield {
            'messaging_product': 'whatsapp',
            'recipient_type': 'individual',
            'to': f'+1202{number:07d}',
            'type': 'text',
            'text': {'body': f'Hello number {number}, your order is on its way.'},
            'biz_opaque_callback_data': str(uuid.uuid4()),
        }


def with_requests(url):
    """Gives each thread its `post`."""
    import requests

    def make():
        session = requests.Session()
        return lambda body: session.post(url, json=body, headers=HEADERS, timeout=20).json()

    return make


def with_urllib3(url):
    import urllib3

    manager = urllib3.PoolManager(maxsize=THREADS, timeout=20)
    return lambda: (
        lambda body: json.loads(
            manager.urlopen('POST', url, body=json.dumps(body).encode(), headers=HEADERS).data
        )
    )


def work(post, waiting):
    while True:
        try:
            body = waiting.pop()
        except IndexError:
            return
        if not post(body)['messages'][0]['id']:
            sys.exit('no id in an answer')


def main(engine, url, count):
    make = {'requests': with_requests, 'urllib3': with_urllib3}[engine](url)
    waiting = list(bodies(count))
    threads = [threading.Thread(target=work, args=(make(), waiting)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
