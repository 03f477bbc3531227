"""What Meta tells by itself: of a customer's number and wishes, of a template, of the account."""

import time

from aiohttp import web

from .chats import Customer
from .envelopes import INBOUND, change, contact, encode, envelope, new_wamid, unix_seconds
from .settings import Number
from .simulator import SIMULATOR, Simulator

GOES_AGAIN = ('REINSTATED', 'UNARCHIVED', 'UNPAUSED')


async def deliver(
    simulator: Simulator, number: Number, change_: dict, what: str, *, at: int | None = None
) -> web.Response:
    """One change on its way, as insistent as Meta is; answers what the gateway said first."""
    if not number.webhook_url:
        return refused('no webhook URL is configured')
    body = envelope({number.waba_id: [change_]})
    if at is not None:
        body['entry'][0]['time'] = at
    target, raw = (number.webhook_url, number.app_secret), encode(body)
    status = await simulator.webhook.post(raw, *target, what)
    if status != 200:
        simulator.webhook.spawn(simulator.webhook.insist(raw, target, what, 1, lambda _: None))
    return web.json_response({'gateway_status': status})


def refused(reason: str) -> web.Response:
    return web.json_response({'error': reason}, status=422)


async def change_number(request: web.Request) -> web.Response:
    """POST /control/customers/{wa_id}/changes-number {"to"}.

    A system message from the old number.
    """
    simulator, asked = request.app[SIMULATOR], await request.json()
    to = str(asked.get('to', ''))
    if not to.isdigit():
        return refused('to must be the new number, in digits')
    old = simulator.customers.with_phone(request.match_info['wa_id'])
    new = simulator.customers.meet(to, name=old.name, username=old.username)
    system = {'user_id': new.user_id, 'previous_user_id': old.user_id}
    message = {'id': new_wamid(old.wa_id, INBOUND), 'timestamp': unix_seconds(), 'type': 'system'}
    if asked.get('hide_phone'):
        system |= {'type': 'user_changed_user_id', 'body': f'{old.name} has another user id'}
    else:
        message['from'] = old.wa_id
        system |= {'type': 'user_changed_number', 'wa_id': to}
        system['body'] = f'User {old.name} changed from {old.wa_id} to {to}'
    message['system'] = system
    for person in (old, new):
        simulator.chats.add(
            person.chat,
            'inbound',
            f'{message["id"]}.{person.chat}',
            {'type': 'system', 'system': system},
        )
    number = simulator.number(asked.get('phone_number_id'))
    return await deliver(
        simulator, number, change(number, None, messages=[message]), "customer's new number"
    )


async def prefer(request: web.Request) -> web.Response:
    """POST /control/customers/{wa_id}/preferences {"value".

    "stop" | "resume"}: marketing messages.
    """
    simulator, asked = request.app[SIMULATOR], await request.json()
    if (value := asked.get('value')) not in ('stop', 'resume'):
        return refused('value must be stop or resume')
    customer = simulator.customers.with_phone(request.match_info['wa_id'])
    ids = {customer.wa_id, customer.user_id}
    simulator.stopped = simulator.stopped | ids if value == 'stop' else simulator.stopped - ids
    number, hidden = simulator.number(asked.get('phone_number_id')), bool(asked.get('hide_phone'))
    wish = preference(customer, value, hidden=hidden)
    news = change(
        number, [contact(customer, phone=not hidden)], 'user_preferences', user_preferences=[wish]
    )
    return await deliver(simulator, number, news, f'customer says {value}', at=int(time.time()))


def preference(customer: Customer, value: str, *, hidden: bool) -> dict:
    who = (
        {'user_id': customer.user_id}
        if hidden
        else {'wa_id': customer.wa_id, 'user_id': customer.user_id}
    )
    detail = f'User requested to {value} marketing messages'
    return who | {
        'detail': detail,
        'category': 'marketing_messages',
        'value': value,
        'timestamp': int(time.time()),
    }


async def judge_template(request: web.Request) -> web.Response:
    """POST /control/templates {"name", "language", "status", "reason"}: Meta's verdict, and its
    webhook.
    """
    simulator, asked = request.app[SIMULATOR], await request.json()
    template = simulator.templates.find(asked.get('name'), asked.get('language'))
    if not template or not isinstance(asked.get('status'), str):
        return refused('name must be that of a template, status a string')
    template['status'] = 'APPROVED' if asked['status'] in GOES_AGAIN else asked['status']
    value = {
        'event': asked['status'],
        'message_template_id': int(template['id']),
        'message_template_name': template['name'],
        'message_template_language': template.get('language'),
        'message_template_category': template.get('category'),
        'reason': asked.get('reason', 'NONE'),
    }
    news = {'field': 'message_template_status_update', 'value': value}
    what = f'template {template["name"]} {asked["status"]}'
    return await deliver(simulator, simulator.number(), news, what, at=int(time.time()))


async def tell_of_account(request: web.Request) -> web.Response:
    """POST /control/account {"field", "value", "time"}: a webhook of the account's own."""
    simulator, asked = request.app[SIMULATOR], await request.json()
    if not isinstance(asked.get('field'), str):
        return refused('field must be a string')
    news = {'field': asked['field'], 'value': asked.get('value')}
    number = simulator.number(asked.get('phone_number_id'))
    return await deliver(
        simulator, number, news, asked['field'], at=asked.get('time', int(time.time()))
    )
