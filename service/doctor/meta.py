"""An account as Meta sees it: token, number, webhooks. Five calls, the first that hangs ends it."""

from collections.abc import Iterator
from typing import Any

from service.accounts.account import Account
from service.doctor import number, subscription, token
from service.doctor.check import Check, fail, ok, warn
from service.graph.error_codes import explain
from service.graph.inspection_client import InspectionClient
from service.graph.management_client import ManagementError
from service.graph.outcome import NO_GRAPH_ANSWER
from service.runtime import encryption
from service.runtime.encryption import DecryptionError
from service.runtime.untrusted import identifier

FIX_AWAY = (
    'See whether this machine reaches graph.facebook.com by HTTPS (GRAPH_API_URL, proxy, '
    'firewall), and metastatus.com.'
)
UNSEEN = 'cannot be seen'


def look(account: Account) -> Iterator[Check]:
    """Everything that Meta tells; what cannot be asked after a failure is left out."""
    try:
        access_token = encryption.decrypt(account.access_token)
    except DecryptionError:
        told = explain('undecryptable')
        yield fail('token', told['explanation'], told['fix'])
        return
    try:
        yield from _Examination(account, access_token).look()
    except ManagementError as error:
        title = error.outcome.reason['title']
        yield fail('meta', f'Meta cannot be asked: {title}.', FIX_AWAY)


class _Examination:
    """The calls about one account. A call without an answer raises ManagementError."""

    def __init__(self, account: Account, access_token: str) -> None:
        self._account = account
        self._token = access_token
        self._meta = InspectionClient()
        self._app_id: str | None = None

    def look(self) -> Iterator[Check]:
        checks = list(self._ask_of_token())
        yield ok('meta', 'Meta answers.')
        yield from checks
        if checks[0]['result'] != 'fail':
            yield from self._ask_of_number()
            yield from self._ask_of_waba()
            if self._app_id:
                yield from subscription.app(self._account, self._app_id, self._meta)

    def _ask_of_token(self) -> Iterator[Check]:
        try:
            told = self._meta.debug_token(self._token)
        except ManagementError as error:
            _raise_if_away(error)
            if error.outcome.code == 190:
                yield token.judge_validity({'error': {'message': error.outcome.reason['title']}})
            else:
                yield _unseen('token', error)
            return
        self._app_id = identifier(told.get('app_id'))
        yield from token.look(self._account, told)

    def _ask_of_number(self) -> Iterator[Check]:
        try:
            yield from number.look(self._number(number.FIELDS))
        except ManagementError as error:
            _raise_if_away(error)
            detail = f'Meta does not show it: {error.outcome.reason["title"]}.'
            fix = 'See that phone_number_id is right, and that the token is for its WABA.'
            yield fail('number', detail, fix)
            return
        try:
            later = self._number(number.LATER_FIELDS)
        except ManagementError as error:
            _raise_if_away(error)
            yield _unseen('callback', error)
            return
        yield from number.look_later(later)
        yield subscription.callback(self._account, later.get('webhook_configuration'))

    def _number(self, fields: tuple[str, ...]) -> dict[str, Any]:
        return self._meta.number(self._account.phone_number_id, self._token, fields)

    def _ask_of_waba(self) -> Iterator[Check]:
        waba_id = self._account.waba_id
        if not waba_id:
            fix = 'Save the waba_id with POST /account.'
            yield warn('subscribed', f'It {UNSEEN}: the account has no waba_id.', fix)
            return
        try:
            apps = self._meta.subscribed_apps(waba_id, self._token)
        except ManagementError as error:
            _raise_if_away(error)
            yield _unseen('subscribed', error)
            return
        yield subscription.subscribed(self._account, apps, self._app_id)


def _raise_if_away(error: ManagementError) -> None:
    """Raise the error again when it is not Meta's own."""
    if error.outcome.reason.get('cause') in NO_GRAPH_ANSWER:
        raise error


def _unseen(check: str, error: ManagementError) -> Check:
    reason = error.outcome.reason
    fix = explain(reason.get('code'))['fix']
    return warn(check, f'It {UNSEEN}: {reason["title"]}.', fix)
