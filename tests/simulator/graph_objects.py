"""The rest of the Graph API that a gateway uses: media and templates."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from . import numbers
from .graph import bearer, parsed
from .media import name_problem, refusal, uploaded
from .simulator import SIMULATOR

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def with_token(handler: Handler) -> Handler:
    """Asks for a valid token first, and takes as long as a Graph call does."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        simulator = request.app[SIMULATOR]
        await asyncio.sleep(simulator.config.latency)
        if not simulator.token_is_valid(bearer(request)):
            answer = refusal(190, 'The access token is missing, expired or not known here.')
        else:
            answer = await handler(request)
        simulator.chats.note('from_gateway', f'{request.method} {request.path[:60]}', answer.status)
        return answer

    return guarded


@with_token
async def upload(request: web.Request) -> web.Response:
    simulator, number = request.app[SIMULATOR], request.match_info['id']
    if not (parts := await uploaded(request, simulator.config.upload_rate)):
        return refusal(100, 'messaging_product and file are required, as multipart/form-data.')
    if simulator.config.strict and (problem := name_problem(parts[2], parts[1])):
        return refusal(100, problem)
    seen = {
        'number': number,
        'size': len(parts[0]),
        'mime_type': parts[1],
        'filename': parts[2],
        'media_id': None,
    }
    simulator.media.uploads.append(seen)
    if simulator.config.upload_error:
        return refusal(simulator.config.upload_error, 'The upload is refused.')
    file = simulator.media.keep(*parts, number=number)
    seen['media_id'] = file.media_id
    return web.json_response({'id': file.media_id})


@with_token
async def look_up(request: web.Request) -> web.Response:
    """A media id, or a business number (what an onboarding check asks for)."""
    simulator, object_id = request.app[SIMULATOR], request.match_info['id']
    if simulator.media.usable(object_id, request.query.get('phone_number_id')):
        base_url = f'{request.scheme}://{request.host}'
        return web.json_response(
            simulator.media.described(object_id, base_url, simulator.config.media_url_ttl)
        )
    fields = request.query.get('fields')
    known = {simulator.flags.phone_number_id, *simulator.config.numbers}
    if object_id in known or fields and fields != 'id':
        return numbers.show(simulator, object_id, fields)
    return missing(object_id)


def missing(object_id: str) -> web.Response:
    return refusal(100, f"Object with ID '{object_id}' does not exist or cannot be loaded.")


@with_token
async def download(request: web.Request) -> web.Response:
    file = request.app[SIMULATOR].media.behind(request.query.get('hash', ''))
    if not file:
        return web.Response(status=404)
    return web.Response(body=file.content, headers={'Content-Type': file.mime_type})


@with_token
async def delete(request: web.Request) -> web.Response:
    if not request.app[SIMULATOR].media.files.pop(request.match_info['id'], None):
        return missing(request.match_info['id'])
    return web.json_response({'success': True})


def with_templates(handler: Handler) -> Handler:
    """Keeps the call, and refuses it if that is wished for (`template_error`)."""

    async def counted(request: web.Request) -> web.StreamResponse:
        simulator = request.app[SIMULATOR]
        call = {
            'method': request.method,
            'waba_id': request.match_info['id'],
            'query': dict(request.query),
        }
        simulator.templates.calls.append(call | {'token_tail': bearer(request)[-4:]})
        if not (code := simulator.config.template_error):
            return await handler(request)
        answer = refusal(code, 'As was wished for.')
        if simulator.config.retry_after is not None:
            answer.headers['Retry-After'] = f'{simulator.config.retry_after:g}'
        return answer

    return with_token(counted)


@with_templates
async def list_templates(request: web.Request) -> web.Response:
    simulator, query = request.app[SIMULATOR], request.query
    limit = min(int(query.get('limit', 25)), simulator.config.template_page)
    address = f'http://elsewhere.invalid{request.path_qs}'  # whoever follows it is led astray
    page = simulator.templates.page(query.get('name'), limit, int(query.get('after', 0)), address)
    if wanted := query.get('summary'):
        page['summary'] = simulator.templates.summary(wanted.split(','))
    return web.json_response(page)


@with_templates
async def create_template(request: web.Request) -> web.Response:
    templates, body = request.app[SIMULATOR].templates, parsed(await request.read())
    if not isinstance(body, dict) or not all(
        body.get(key) for key in ('name', 'category', 'language')
    ):
        return refusal(100, 'name, category and language are required.')
    if request.app[SIMULATOR].config.strict and (
        missing_example := templates.example_problem(body)
    ):
        return refusal(100, missing_example)
    if templates.find(body['name'], body['language']):
        return refusal(2388024, 'There is already content in this language for this template.')
    return web.json_response(templates.create(body))


@with_templates
async def delete_template(request: web.Request) -> web.Response:
    if not request.app[SIMULATOR].templates.delete(
        request.query.get('name', ''), request.query.get('hsm_id')
    ):
        return refusal(132001, 'There is no template of that name.')
    return web.json_response({'success': True})
