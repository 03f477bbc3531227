"""Everything that the doctor looks at, side by side and within SECONDS."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from peewee import PeeweeException

from service.accounts.account import Account
from service.doctor import (
    account_rows,
    database,
    environment,
    files,
    graph_version,
    meta,
    redis_server,
)
from service.doctor.check import Check, fail, ok, worst
from service.doctor.lanes import Lane, run
from service.runtime.db import connection
from service.runtime.errors import NotFound

SECONDS = 22  # for all of it, at most


def examine(chatbot_id: str | None, whole: bool = True) -> list[Check]:
    """What is as it should be and what is not: of the gateway, and of one account if it is named.

    Never raises, and takes at most SECONDS. Asks Meta five times for an account: look on demand,
    not with every page. `whole`: the gateway's own checks one by one; else, for the keeper of one
    chatbot, one check `gateway` without addresses and settings. Needs no connection: give one
    back before (db.no_connection).
    """
    if chatbot_id is None:
        own = Lane('accounts', _of_all_accounts, 5)
    else:
        own = Lane('account', lambda: _of_account(chatbot_id), SECONDS)
    *found, account = run([*_of_gateway(), own])
    gateway = list(chain(*found))
    return [*(gateway if whole else [_sum_up(gateway)]), *account]


def _of_gateway() -> list[Lane]:
    return [
        Lane('environment', environment.look, 2),
        Lane('database', database.look, 20),
        Lane('redis', redis_server.look, 8),
        Lane('media_storage', files.look, 10),
        Lane('graph_version', graph_version.look, 2),
    ]


def _of_all_accounts() -> Iterator[Check]:
    with suppress(PeeweeException), connection():  # the checks of the database say so
        yield from account_rows.look_at_all()


def _of_account(chatbot_id: str) -> Iterator[Check]:
    try:
        with connection():
            found = Account.find(chatbot_id)
            yield from account_rows.look(found)
    except NotFound as error:
        yield fail('account', error.detail or error.title, 'flask account list shows them all.')
        return
    except PeeweeException:
        return  # the checks of the database say so
    yield from meta.look(found)


def _sum_up(gateway: list[Check]) -> Check:
    wrong = [check['check'] for check in gateway if check['result'] != 'ok']
    if not wrong:
        return ok('gateway', 'The gateway itself is as it should be.')
    summary = fail('gateway', f'Not as it should be: {", ".join(wrong)}.', 'Tell its operator.')
    return {**summary, 'result': worst(gateway)}
