"""What Meta says of an account's token (debug_token)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from service.accounts.account import Account
from service.doctor.check import Check, fail, ok, warn
from service.runtime.timestamps import from_epoch
from service.runtime.untrusted import as_dict, clean, list_of_dicts

NEEDED = ('whatsapp_business_messaging', 'whatsapp_business_management')
SOON = timedelta(days=14)
FIX = (
    'Make a token of a system user with both scopes (docs/setup.md, step 3) and save it with '
    'POST /account; what waits is sent then.'
)


def look(account: Account, told: dict[str, Any]) -> Iterator[Check]:
    """Judge `told`, what debug_token answered."""
    valid = judge_validity(told)
    yield valid
    if valid['result'] == 'ok':
        yield _scopes(account, told)
        yield _expiry(told, datetime.now(UTC))


def judge_validity(told: dict[str, Any]) -> Check:
    if told.get('is_valid'):
        return ok('token', f'Meta takes the token, of the app {_app(told)}.')
    said = clean(as_dict(told.get('error')).get('message'), 200) or 'it is not valid'
    return fail('token', f'Meta does not take the token: {said.rstrip(".")}.', FIX)


def _app(told: dict[str, Any]) -> str:
    return clean(told.get('application'), 100) or str(told.get('app_id'))


def _scopes(account: Account, told: dict[str, Any]) -> Check:
    name = 'token_scopes'
    has = told.get('scopes')
    has = has if isinstance(has, list) else []
    missing = [scope for scope in NEEDED if scope not in has]
    if missing:
        return fail(name, f'The token lacks {" and ".join(missing)}.', FIX)
    targets = _targets(told)
    if account.waba_id and targets and account.waba_id not in targets:
        detail = 'The token is not for the WABA of the account (waba_id).'
        return fail(name, detail, f'Give its system user that WABA, or mend waba_id. {FIX}')
    return ok(name, f'It has {" and ".join(NEEDED)}.')


def _targets(told: dict[str, Any]) -> set[str]:
    """The WABAs that it may manage, none when it is not restricted to some."""
    found: set[str] = set()
    for scope in list_of_dicts(told.get('granular_scopes')):
        targets = scope.get('target_ids')
        if scope.get('scope') == NEEDED[1] and isinstance(targets, list):
            found |= {str(target) for target in targets}
    return found


def _expiry(told: dict[str, Any], now: datetime) -> Check:
    name = 'token_expiry'
    ends = [from_epoch(told.get(key)) for key in ('expires_at', 'data_access_expires_at')]
    known = [end for end in ends if end and end.timestamp() > 0]
    if not known:
        return ok(name, 'It does not expire.')
    end = min(known)
    if end <= now:
        return fail(name, f'It has expired on {end:%Y-%m-%d}.', FIX)
    if end - now < SOON:
        return warn(name, f'It expires on {end:%Y-%m-%d %H:%M} UTC.', FIX)
    return ok(name, f'It expires on {end:%Y-%m-%d}.')
