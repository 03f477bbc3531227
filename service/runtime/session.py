"""A connection to PostgreSQL, which finds out whether a pooler stands in between.

A direct connection has a session of the server for itself, so its time limits are set once. Behind
a pooler like PgBouncer in transaction mode each transaction may run in another session, which other
clients use before and after: there the limits go with each transaction, and nothing is left behind.
"""

from psycopg2.extensions import connection

from service.runtime.config import settings

# The server's own time limits in milliseconds, which hold also when it cannot see the client any
# more. PgBouncer refuses them as start-up options.
STATEMENT_LIMITS = {'statement_timeout': 20_000, 'lock_timeout': 10_000}
LIMITS = STATEMENT_LIMITS | {'idle_in_transaction_session_timeout': 20_000}


def set_local(limits: dict[str, int]) -> str:
    """SQL that sets limits until the end of the transaction; it goes before a statement."""
    return ''.join(f'SET LOCAL {name} = {limit}; ' for name, limit in limits.items())


class Session(connection):
    """A connection, and the SQL that goes in one packet with what is executed on it.

    `is_direct`: it has a session of the server for itself; `limits`: goes before a statement
    outside of transactions; `begin`: begins a transaction.
    """

    is_direct = False
    limits = set_local(STATEMENT_LIMITS)
    begin = 'BEGIN; ' + set_local(LIMITS)

    def find_out(self) -> None:
        """See whether the server itself is at the other end; if it is, set the limits for good.

        A pooler has told its client another process number than that of the session behind it.
        """
        if settings.DATABASE_PREPARE == 'no':
            return
        with self.cursor() as cursor:
            cursor.execute('SELECT pg_backend_pid()')
            if cursor.fetchone() == (self.get_backend_pid(),):
                cursor.execute(''.join(f'SET {name} = {limit}; ' for name, limit in LIMITS.items()))
                self.is_direct = True
                self.limits = ''
                self.begin = 'BEGIN; '
