"""What tests steer and look at: `/control/…`."""

import binascii
from base64 import b64decode

from aiohttp import ClientError, web

from .envelopes import encode, signature
from .simulator import SIMULATOR


async def list_sends(request: web.Request) -> web.Response:
    sends, since = request.app[SIMULATOR].sends, int(request.query.get('since', 0))
    if request.query.get('counts'):
        return web.json_response(sends.counts(since, brief=request.query['counts'] == 'brief'))
    limit = int(request.query['limit']) if 'limit' in request.query else None
    return web.json_response({'data': sends.since(since, limit), 'next': len(sends.calls)})


async def show_config(request: web.Request) -> web.Response:
    return web.json_response(request.app[SIMULATOR].config.shown())


async def merge_config(request: web.Request) -> web.Response:
    config, changes = request.app[SIMULATOR].config, await request.json()
    wrong = config.merge(changes) if isinstance(changes, dict) else ['not an object']
    if wrong:
        return web.json_response({'errors': wrong}, status=422)
    return web.json_response(config.shown())


async def reset(request: web.Request) -> web.Response:
    request.app[SIMULATOR].forget()
    return web.json_response({'reset': True})


async def undelivered(request: web.Request) -> web.Response:
    """`pending` covers what is planned, waiting in a batch, on its way or being retried."""
    simulator = request.app[SIMULATOR]
    webhook, statuses = simulator.webhook, simulator.statuses
    batched = sum(len(batch) for batch in statuses.waiting.values())
    return web.json_response(
        {
            'undelivered': webhook.undelivered,
            'pending': len(webhook.tasks) + len(statuses.timers) + batched,
            'posts': webhook.posts,
            'failures': list(webhook.failures),
        }
    )


async def post_webhook(request: web.Request) -> web.Response:
    """Any body, delivered once; `signature` replaces the right one, null leaves the header out."""
    simulator, asked = request.app[SIMULATOR], await request.json()
    number = simulator.number(asked.get('phone_number_id'))
    url, secret = (
        asked.get('url') or number.webhook_url,
        asked.get('app_secret') or number.app_secret,
    )
    try:
        raw = (
            b64decode(asked['raw_base64'], validate=True)
            if 'raw_base64' in asked
            else encode(asked['body'])
        )
    except (KeyError, TypeError, binascii.Error):
        return web.json_response({'error': 'give body or raw_base64'}, status=422)
    mark = asked.get('signature', signature(raw, secret))
    headers = {} if mark is None else {'X-Hub-Signature-256': mark}
    status = await simulator.webhook.post(raw, url, secret, 'hand-made webhook', headers)
    return web.json_response({'gateway_status': status})


async def verify(request: web.Request) -> web.Response:
    """Meta's verification GET, as when a callback is saved in the App Dashboard."""
    simulator = request.app[SIMULATOR]
    challenge = '1158201444'
    query = {
        'hub.mode': 'subscribe',
        'hub.challenge': challenge,
        'hub.verify_token': simulator.config.verify_token,
    }
    try:
        async with simulator.webhook.session.get(
            simulator.config.webhook_url, params=query
        ) as answer:
            text = await answer.text()
            verified = answer.status == 200 and text == challenge
            return web.json_response({'gateway_status': answer.status, 'verified': verified})
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        return web.json_response(
            {'gateway_status': None, 'verified': False, 'error': type(error).__name__}
        )


async def list_reads(request: web.Request) -> web.Response:
    return web.json_response({'data': list(request.app[SIMULATOR].reads)})


async def list_uploads(request: web.Request) -> web.Response:
    return web.json_response({'data': request.app[SIMULATOR].media.uploads})


async def list_ai(request: web.Request) -> web.Response:
    return web.json_response({'data': list(request.app[SIMULATOR].ai_asks)})


async def list_responder(request: web.Request) -> web.Response:
    return web.json_response({'data': list(request.app[SIMULATOR].responder_asks)})


async def list_templates(request: web.Request) -> web.Response:
    """What there is, and every call for it."""
    templates = request.app[SIMULATOR].templates
    return web.json_response({'data': templates.known, 'calls': templates.calls})
