"""What is asked when a number is connected: its token, and who hears of its webhooks."""

import asyncio

from aiohttp import web

from .graph import bearer
from .graph_objects import with_token
from .media import refusal
from .simulator import SIMULATOR

SCOPES = ['whatsapp_business_management', 'whatsapp_business_messaging']
APP = 'Simulated app'


@with_token
async def debug_token(request: web.Request) -> web.Response:
    """What a token is; `token_facts` say otherwise."""
    simulator = request.app[SIMULATOR]
    token = request.query.get('input_token', '')
    facts = {
        'app_id': simulator.config.app_id,
        'type': 'SYSTEM_USER',
        'application': APP,
        'expires_at': 0,
        'data_access_expires_at': 0,
        'is_valid': simulator.token_is_valid(token),
        'scopes': SCOPES,
        'user_id': '122100112233445566',
    }
    return web.json_response({'data': facts | simulator.config.token_facts})


@with_token
async def list_subscribed(request: web.Request) -> web.Response:
    apps = request.app[SIMULATOR].config.subscribed_apps
    return web.json_response({'data': [_subscribed(app_id) for app_id in apps]})


def _subscribed(app_id: str) -> dict:
    link = f'https://www.facebook.com/games/?app_id={app_id}'
    return {'whatsapp_business_api_data': {'id': app_id, 'link': link, 'name': APP}}


@with_token
async def subscribe(request: web.Request) -> web.Response:
    config = request.app[SIMULATOR].config
    if config.app_id not in config.subscribed_apps:
        config.subscribed_apps = [*config.subscribed_apps, config.app_id]
    return web.json_response({'success': True})


async def app_subscriptions(request: web.Request) -> web.Response:
    """What an app has subscribed to: only its own token, made of id and secret, may ask."""
    config = request.app[SIMULATOR].config
    await asyncio.sleep(config.latency)
    app_id = request.match_info['id']
    if bearer(request) != f'{app_id}|{config.app_secret}' or app_id != config.app_id:
        return refusal(190, 'Invalid OAuth access token signature.')
    subscription = {
        'object': 'whatsapp_business_account',
        'callback_url': config.webhook_url,
        'active': True,
        'fields': [{'name': name, 'version': 'v26.0'} for name in config.webhook_fields],
    }
    return web.json_response({'data': [subscription] if config.webhook_fields else []})
