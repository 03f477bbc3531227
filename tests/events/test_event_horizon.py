"""Many transactions, short and long, write events while somebody reads on: nothing is skipped."""

import random
import threading
import time

import psycopg2

from service.events import event_list
from service.events.event_list import Wanted
from service.runtime.db import connection
from tests.events.published import PUBLISH, event_ids
from tests.people import CHATBOT

WRITERS, TRANSACTIONS = 6, 60


def write(url, seed):
    """Transactions that begin, write, wait and commit in every order."""
    chance = random.Random(seed)
    session = psycopg2.connect(url)
    with session.cursor() as cursor:
        for _ in range(TRANSACTIONS):
            cursor.execute('SELECT 1')
            time.sleep(chance.choice((0, 0, 0.004, 0.02)))
            for _ in range(chance.randint(1, 3)):
                cursor.execute(PUBLISH, ('batch.done', CHATBOT))
                time.sleep(chance.choice((0, 0.002, 0.01)))
            if chance.random() < 0.1:
                session.rollback()
            else:
                session.commit()
    session.close()


def read_on(seen, is_over):
    """Look again and again behind what was seen; once more when all is over."""
    after = None
    while True:
        ends = is_over.is_set()
        with connection():
            found = event_list.look(Wanted(None, None), after, 10)
        seen += [one.id for one in found.events]
        after = found.after
        if ends and not found.has_more:
            return


def test_who_reads_on_sees_each_event_once_and_in_order(backend, postgres):
    backend.account()
    backend.get('/events')
    seen, is_over = [], threading.Event()
    reader = threading.Thread(target=read_on, args=(seen, is_over))
    reader.start()
    writers = [threading.Thread(target=write, args=(postgres.url, seed)) for seed in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    is_over.set()
    reader.join(60)
    assert len(seen) > WRITERS * TRANSACTIONS
    assert seen == event_ids()
