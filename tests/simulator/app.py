"""The table of contents: every address the simulator answers."""

import json

from aiohttp import web

from . import (
    ai,
    control,
    customers,
    desk,
    graph,
    graph_objects,
    news,
    onboarding,
    phone,
    responder,
    wire,
)
from .error_codes import graph_error
from .simulator import SIMULATOR, Simulator

BODY_LIMIT = 110 * 1024 * 1024  # Meta's largest media, and a bit
VERSION = r'{version:v\d+\.\d+}'
ID = VERSION + r'/{id:\d+}'


def create_app(simulator: Simulator) -> web.Application:
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[readable_refusals, wire.kept])
    app[SIMULATOR] = simulator
    app.on_startup.append(lambda _: simulator.webhook.open())
    app.on_cleanup.append(lambda _: simulator.webhook.session.close())
    app.add_routes([*graph_routes(), *control_routes(), *stand_in_routes(), *phone_routes()])
    return app


def graph_routes() -> list[web.RouteDef]:
    return [
        web.post(f'/{ID}/messages', graph.messages),
        web.post(f'/{ID}/media', graph_objects.upload),
        web.get(f'/{ID}/message_templates', graph_objects.list_templates, allow_head=False),
        web.post(f'/{ID}/message_templates', graph_objects.create_template),
        web.delete(f'/{ID}/message_templates', graph_objects.delete_template),
        web.get(f'/{ID}/subscribed_apps', onboarding.list_subscribed, allow_head=False),
        web.post(f'/{ID}/subscribed_apps', onboarding.subscribe),
        web.get(f'/{ID}/subscriptions', onboarding.app_subscriptions, allow_head=False),
        web.get(f'/{VERSION}/debug_token', onboarding.debug_token, allow_head=False),
        web.get(f'/{ID}', graph_objects.look_up, allow_head=False),
        web.delete(f'/{ID}', graph_objects.delete),
        web.get('/whatsapp_business/attachments/', graph_objects.download, allow_head=False),
    ]


def control_routes() -> list[web.RouteDef]:
    return [
        web.get('/control/sends', control.list_sends),
        web.get('/control/config', control.show_config),
        web.post('/control/config', control.merge_config),
        web.post('/control/reset', control.reset),
        web.get('/control/undelivered', control.undelivered),
        web.post('/control/webhook', control.post_webhook),
        web.post('/control/verify', control.verify),
        web.get('/control/reads', control.list_reads),
        web.get('/control/uploads', control.list_uploads),
        web.get('/control/ai', control.list_ai),
        web.get('/control/responder', control.list_responder),
        web.post(r'/control/customers/{wa_id:\d+}/messages', customers.write),
        web.post(r'/control/customers/{wa_id:\d+}/changes-number', news.change_number),
        web.post(r'/control/customers/{wa_id:\d+}/preferences', news.prefer),
        web.get('/control/templates', control.list_templates),
        web.post('/control/templates', news.judge_template),
        web.post('/control/account', news.tell_of_account),
    ]


def stand_in_routes() -> list[web.RouteDef]:
    return [
        web.post('/v1/chat/completions', ai.chat_completions),
        web.post('/responder', responder.respond),
    ]


def phone_routes() -> list[web.RouteDef]:
    return [
        web.get('/', phone.to_page),
        web.get('/phone', phone.show_page),
        web.get('/phone/messages', phone.past),
        web.get('/phone/events', phone.events),
        web.get('/phone/media/{media_id}', phone.media),
        web.get('/phone/desk', desk.show),
        web.post('/phone/desk', desk.act),
        web.get(r'/phone/wire/{line:\d+}', phone.exchange),
    ]


@web.middleware
async def readable_refusals(request: web.Request, handler) -> web.StreamResponse:
    """Bad JSON to the control API is the caller's fault; an unknown Graph address answers in
    Graph's own shape.
    """
    try:
        return await handler(request)
    except json.JSONDecodeError as error:
        return web.json_response({'error': f'not JSON: {error}'}, status=400)
    except web.HTTPNotFound:
        return web.json_response(graph_error(100, f'Unknown path: {request.path}'), status=404)
