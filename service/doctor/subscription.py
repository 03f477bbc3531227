"""Whether Meta sends an account's webhooks, and where to; and the repair of a subscription."""

from collections.abc import Iterator
from typing import Any, TypedDict
from urllib.parse import quote, urlsplit

from service.accounts.account import Account
from service.doctor.check import Check, fail, ok, warn
from service.graph.inspection_client import InspectionClient
from service.graph.management_client import ManagementError
from service.runtime import encryption
from service.runtime.config import ConfigError, settings
from service.runtime.errors import Conflict
from service.runtime.untrusted import as_dict, clean, identifier

SHARED_PATH = '/whatsapp-cloud/webhook'
OBJECT = 'whatsapp_business_account'
# Where a callback may be set, as Meta and we call it: the first that is set wins.
LEVELS = {'phone_number': 'number', 'whatsapp_business_account': 'WABA', 'application': 'app'}
NEEDED_FIELD = 'messages'
# What changes what the gateway does; others only show (docs/health.md).
WANTED_FIELDS = (
    'message_template_status_update',
    'message_template_quality_update',
    'message_template_components_update',
    'template_category_update',
    'user_preferences',
    'account_update',
    'phone_number_quality_update',
)
DASHBOARD = 'App Dashboard > WhatsApp > Configuration'
BAD_TOKEN = (190, 101)  # codes of Meta's for an app id and secret that do not belong together


def subscribed(account: Account, apps: list[dict[str, Any]], app_id: str | None) -> Check:
    """Whether the token's app hears of the account's WABA."""
    name = 'subscribed'
    ids = {identifier(app.get('id')) for app in apps}
    if app_id in ids or (app_id is None and ids):
        return ok(name, 'The app is subscribed to the WABA.')
    others = f'; {len(ids)} other apps are' if ids else ''
    detail = f'The app is not subscribed to the WABA{others}: no webhook comes.'
    return fail(name, detail, f'flask subscribe {account.chatbot_id}')


def callback(account: Account, configuration: object) -> Check:
    """Whether webhooks go to this gateway's path; `configuration`: of the number, by level."""
    name = 'callback'
    urls = as_dict(configuration)
    level = next(filter(urls.get, LEVELS), 'application')
    url = clean(urls.get(level), 500)
    own = f'{SHARED_PATH}/{quote(account.chatbot_id, safe="")}'
    wanted = own if account.app_secret else SHARED_PATH
    fix = f'Give https://<your gateway>{wanted} as the callback URL in {DASHBOARD}'
    if url is None:
        return fail(name, 'Meta knows no callback URL.', f'{fix}.')
    detail = f'Webhooks go to {url} (set for the {LEVELS[level]})'
    path = urlsplit(url).path.rstrip('/')
    if path == own or (path == SHARED_PATH and not account.app_secret):
        return ok(name, f'{detail}.')
    fix = f'{fix}; an override of the number or the WABA goes before it.'
    return fail(name, f'{detail}, not to {wanted} of a gateway.', fix)


def app(account: Account, app_id: str, client: InspectionClient) -> Iterator[Check]:
    """The app's secret and its fields, which only the app itself may ask for."""
    refusal: ManagementError | None = None
    for secret in _secrets(account):
        try:
            subscriptions = client.app_subscriptions(app_id, secret)
        except ManagementError as error:
            refusal = error
            continue
        yield ok('app_secret', 'The app secret is that of the app.')
        yield _fields(subscriptions)
        return
    yield _unseen(account, refusal)


def _secrets(account: Account) -> tuple[str, ...]:
    own = encryption.decrypt(account.app_secret)
    try:
        return (own,) if own else settings.WHATSAPP_APP_SECRET
    except ConfigError:  # the check of the environment says so
        return ()


def _unseen(account: Account, refusal: ManagementError | None) -> Check:
    outcome = refusal.outcome if refusal else None
    if outcome and outcome.code in BAD_TOKEN:
        setting = "the account's app_secret" if account.app_secret else 'WHATSAPP_APP_SECRET'
        detail = f"{setting} is not the secret of the token's app: its webhooks are refused."
        fix = f'Take it from App Dashboard > App settings > Basic, and put it into {setting}.'
        return fail('app_secret', detail[0].upper() + detail[1:], fix)
    why = outcome.reason['title'] if outcome else 'WHATSAPP_APP_SECRET is not here'
    fix = f'Look at {DASHBOARD} yourself: {NEEDED_FIELD} has to be subscribed.'
    return warn('webhook_fields', f'They cannot be seen ({why}).', fix)


def _fields(subscriptions: list[dict[str, Any]]) -> Check:
    name = 'webhook_fields'
    fix = f'Subscribe to them in {DASHBOARD} > Webhook fields.'
    found = next((one for one in subscriptions if one.get('object') == OBJECT), None)
    if not found or not found.get('active', True):
        return fail(name, 'The app has no active subscription to webhooks of WhatsApp.', fix)
    has = {_field_name(field) for field in found.get('fields') or ()}
    if NEEDED_FIELD not in has:
        return fail(name, f'{NEEDED_FIELD} is missing: neither messages nor ticks come.', fix)
    missing = [field for field in WANTED_FIELDS if field not in has]
    if missing:
        return warn(name, f'Missing: {", ".join(missing)}.', fix)
    return ok(name, f'All that the gateway acts on are subscribed ({len(has)} fields).')


def _field_name(field: object) -> str | None:
    return clean(as_dict(field).get('name') if isinstance(field, dict) else field, 100)


class Repair(TypedDict):
    """What `subscribe` found and did. `app_id`: the token's, None where Meta does not say."""

    chatbot_id: str
    waba_id: str
    app_id: str | None
    changed: bool


def subscribe(account: Account) -> Repair:
    """Subscribe the token's app to the account's WABA, unless it is.

    One that is stays untouched: a new subscription would take away its override of the callback.
    Raises Conflict, ManagementError.
    """
    if not account.waba_id:
        sentence = f'The account of chatbot "{account.chatbot_id}" has no waba_id: save it first.'
        raise Conflict(sentence)
    client = InspectionClient()
    token = encryption.decrypt(account.access_token)
    app_id = identifier(client.debug_token(token).get('app_id'))
    is_new = subscribed(account, client.subscribed_apps(account.waba_id, token), app_id)
    changed = is_new['result'] != 'ok'
    if changed:
        client.subscribe(account.waba_id, token)
    return {
        'chatbot_id': account.chatbot_id,
        'waba_id': account.waba_id,
        'app_id': app_id,
        'changed': changed,
    }
