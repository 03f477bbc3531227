"""A client of Meta's API that was pointed at this gateway."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import requests

from tests.people import CUSTOMER, sql
from tests.stack import PHONE_NUMBER_ID, wait_until

TEXT = {'messaging_product': 'whatsapp', 'to': CUSTOMER, 'type': 'text', 'text': {'body': 'Hi'}}


class GraphClient:
    """Requests as Meta's clients make them; .send() has the workers work meanwhile."""

    def __init__(self, url, workers, key='test-key', prefix='/v26.0'):
        self.url, self.prefix = url, prefix
        self.workers = workers
        self.headers = {'Authorization': f'Bearer {key}'}

    def request(self, method, path, headers=None, **options):
        headers = {**self.headers, **(headers or {})}
        answer = requests.request(
            method, f'{self.url}{self.prefix}/{path}', headers=headers, timeout=30, **options
        )
        is_json = 'json' in answer.headers.get('Content-Type', '')
        return SimpleNamespace(
            status=answer.status_code,
            json=answer.json() if is_json else None,
            headers=answer.headers,
            content=answer.content,
        )

    def post_message(self, body=None, number=PHONE_NUMBER_ID, **options):
        if options.keys().isdisjoint(('data', 'json', 'files')):
            options['json'] = TEXT if body is None else body
        return self.request('POST', f'{number}/messages', **options)

    def send(self, body=None, work=None, **options):
        """Post a message; the workers send it once its row is there."""
        before = self.waiting()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.post_message, body, **options)
            wait_until(lambda: answer.done() or self.waiting() > before, 20)
            while not answer.done():
                (work or self.workers.send)()
                threading.Event().wait(0.05)
            return answer.result()

    @staticmethod
    def waiting():
        """How many messages were queued, and receipts asked for."""
        outbound = "SELECT id FROM message WHERE direction = 'outbound'"
        receipts = 'SELECT message_id FROM read_receipt WHERE due_at IS NOT NULL'
        return sql(f'SELECT count(*) FROM ({outbound} UNION ALL {receipts}) waiting')[0][0]
