"""A stand-in AI: OpenAI's `POST /v1/chat/completions`, with magic words for its failures."""

import asyncio
import re
import time

from aiohttp import web

from . import ai_shapes
from .graph import bearer, parsed
from .simulator import SIMULATOR, Simulator

FAIL = re.compile(r'\bfail (\d+)\b', re.IGNORECASE)
STATUS = re.compile(r'\bai-status ([45]\d\d)\b', re.IGNORECASE)
SLOW = re.compile(r'\bslow (\d+(?:\.\d+)?)\b', re.IGNORECASE)


async def chat_completions(request: web.Request) -> web.Response:
    simulator, started = request.app[SIMULATOR], time.monotonic()
    body, key = parsed(await request.read()), bearer(request)
    asked = {'at': time.time(), 'key_tail': key[-4:], 'body': body, 'status': 200}
    simulator.ai_asks.append(asked)
    answer = await answered(simulator, body, key)
    asked |= {'status': answer.status, 'seconds': round(time.monotonic() - started, 3)}
    simulator.chats.note('from_gateway', 'AI asked', answer.status)
    return answer


async def answered(simulator: Simulator, body: object, key: str) -> web.Response:
    if not key:
        return problem(401, 'invalid_request_error', "You didn't provide an API key.")
    said = user_texts(body)
    if not said:
        return problem(400, 'invalid_request_error', "messages must hold a user's message.")
    last = said[-1]
    slow = SLOW.search(last)
    await asyncio.sleep(simulator.config.ai_latency + (float(slow[1]) if slow else 0))
    if (fail := FAIL.search(last)) and still_failing(simulator, tuple(said), int(fail[1])):
        return problem(
            500, 'server_error', 'The server had an error while processing your request.'
        )
    if status := STATUS.search(last):
        headers = {'Retry-After': '2'} if int(status[1]) in (429, 503) else {}
        return problem(int(status[1]), 'stand_in', 'As it was asked to.', headers)
    if 'ai-garbage' in last:
        return web.Response(text='<html>not JSON', content_type='application/json')
    return ai_shapes.answer(body, last)


def still_failing(simulator: Simulator, conversation: tuple, times: int) -> bool:
    """True for the first `times` asks about the same conversation."""
    asked = simulator.ai_failures[conversation] = simulator.ai_failures.get(conversation, 0) + 1
    return asked <= times


def user_texts(body: object) -> list[str]:
    messages = body.get('messages') if isinstance(body, dict) else None
    users = [one for one in messages or () if isinstance(one, dict) and one.get('role') == 'user']
    return [text_of(one.get('content')) for one in users]


def text_of(content: object) -> str:
    """A string, or the text parts of a list of parts."""
    if isinstance(content, list):
        return ' '.join(str(part.get('text', '')) for part in content if isinstance(part, dict))
    return str(content or '')


def problem(
    status: int, kind: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    error = {'message': message, 'type': kind, 'param': None, 'code': None}
    return web.json_response({'error': error}, status=status, headers=headers)
