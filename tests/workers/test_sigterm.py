"""SIGTERM in the middle of work, while Redis is away: what is under way ends as if nothing had
come.
"""

import signal
from contextlib import closing

from tests.gateway import Gateway
from tests.people import contact, envelope, text_message
from tests.stack import wait_until

WAITING = (
    "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'conversation_identity'::regclass"
)
STORED = 'SELECT status, items::text FROM webhook_event'


def rows(gateway, statement):
    with closing(gateway.postgres.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_a_sigterm_while_redis_is_away_does_not_come_up_in_the_middle_of_a_batch(tmp_path):
    """RQ tells Redis of it from within the signal's handler: an error there would come out of any
    of our statements.
    """
    with Gateway(tmp_path) as gateway:
        gateway.backend.account(responder={'kind': 'none'})
        (child,) = gateway.processes.running('worker_incoming')
        with closing(gateway.postgres.connect()) as somebody, somebody.cursor() as cursor:
            cursor.execute('LOCK TABLE conversation_identity')
            assert (
                gateway.meta.webhook(envelope([text_message()], contacts=[contact()])).status_code
                == 200
            )
            wait_until(lambda: rows(gateway, WAITING), 20)
            gateway.redis.stop(kill=True)
            child.send(signal.SIGTERM)
            somebody.rollback()
        wait_until(lambda: child.returncode is not None, 25)
        ((status, items),) = rows(gateway, STORED)
        assert (child.returncode, status) == (0, 'processed')
        assert '"stored"' in items
        assert 'a batch of events failed' not in gateway.processes.logs('worker_incoming')
