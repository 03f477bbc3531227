"""Meta's `POST /{phone_number_id}/messages`: sends, read receipts, typing."""

import asyncio
import json
import socket
import struct
from urllib.parse import urlsplit

from aiohttp import web

from .chats import Customer
from .contents import deep_problem
from .envelopes import UNKNOWN_PHONE, new_wamid
from .error_codes import THROTTLING, graph_error, http_status, title
from .magic import ORDINARY, Answer, Behaviour, Statuses, behaviour
from .send_body import MEDIA_TYPES, Problem, body_problem, digits_of, is_user_id, magic_digits
from .sends import Send
from .simulator import SIMULATOR, Simulator
from .statuses import Receipt

RESET_ON_CLOSE = struct.pack('ii', 1, 0)  # SO_LINGER on, zero seconds: close() sends RST
HTML_PAGE = (
    '<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Sorry, something '
    'went wrong.</h1></body>'
)
SILENT = Behaviour(statuses=Statuses.NONE)


async def messages(request: web.Request) -> web.StreamResponse:
    """One call: token, body, then what the recipient's number asks for."""
    simulator = request.app[SIMULATOR]
    raw, token = await request.read(), bearer(request)
    body = parsed(raw)
    if is_read_receipt(body) and simulator.token_is_valid(token):
        return await read_receipt(simulator, body)
    send = simulator.sends.record(request.match_info['id'], token, raw)
    if not simulator.token_is_valid(token):
        return await refuse(
            simulator, send, 190, 'The access token is missing, expired or not known here.'
        )
    if problem := body_problem(body) or known_problem(simulator, send.phone_number_id, body):
        return await refuse(simulator, send, *problem)
    return await Call(simulator, request, send, body).answer()


def known_problem(simulator: Simulator, number: str, body: dict) -> Problem | None:
    """What is wrong with a body that is well formed: contents, media and templates that Meta would
    not take.
    """
    kind = body.get('type', 'text')
    if not simulator.config.strict:
        return None
    if kind == 'template':
        return simulator.templates.problem(body['template']) or opt_out(simulator, body)
    if problem := deep_problem(body):
        return problem
    content = body[kind]
    if (
        kind in MEDIA_TYPES
        and 'id' in content
        and not simulator.media.usable(content['id'], number)
    ):
        return (
            100,
            f"Param {kind}['id'] is not a valid whatsapp business account media attachment ID",
        )
    return None


def opt_out(simulator: Simulator, body: dict) -> Problem | None:
    """Marketing to somebody who stopped it (POST /control/customers/…/preferences)."""
    template = simulator.templates.sent(body['template'])
    marketing = template and template.get('category') == 'MARKETING'
    stopped = simulator.stopped & {digits_of(body.get('to', '')), body.get('recipient')}
    return (
        (131050, 'The user has stopped marketing messages from this business.')
        if marketing and stopped
        else None
    )


def bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get('Authorization', '').partition(' ')
    return token.strip() if scheme.lower() == 'bearer' else ''


def parsed(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def is_read_receipt(body: object) -> bool:
    return (
        isinstance(body, dict)
        and body.get('status') == 'read'
        and isinstance(body.get('message_id'), str)
    )


async def read_receipt(simulator: Simulator, body: dict) -> web.Response:
    """Turns the customer's ticks blue; the typing indicator shows on the phone."""
    simulator.reads.append(body)
    chat, entry = simulator.chats.by_wamid.get(body['message_id'], (None, None))
    if entry:
        entry['read'] = True
        simulator.chats.tell(chat, 'message', entry)
    if chat and 'typing_indicator' in body:
        simulator.chats.tell(chat, 'typing', {})
    simulator.chats.note('from_gateway', 'read receipt', 200)
    await asyncio.sleep(simulator.config.latency)
    return web.json_response({'success': True})


async def refuse(
    simulator: Simulator,
    send: Send,
    code: int,
    details: str | None = None,
    delay: float | None = None,
) -> web.Response:
    """A Graph error, after the usual latency."""
    send.outcome, send.error_code, send.answer = 'error', code, http_status(code)
    await asyncio.sleep(simulator.config.latency if delay is None else delay)
    headers = (
        {'WWW-Authenticate': 'OAuth "Facebook Platform" "invalid_token"'} if code == 190 else {}
    )
    if code in THROTTLING and simulator.config.retry_after is not None:
        headers['Retry-After'] = f'{simulator.config.retry_after:g}'
    if code in THROTTLING and simulator.config.regain_minutes is not None:
        headers['X-Business-Use-Case-Usage'] = usage(simulator, send)
    error = graph_error(code, details)
    simulator.chats.note(
        'from_gateway', f'send to {send.recipient}', send.answer, error['error']['message']
    )
    return web.json_response(error, status=send.answer, headers=headers)


def usage(simulator: Simulator, send: Send) -> str:
    """Meta's header: what the WABA has used up, and the minutes until it may call again."""
    used = {'type': 'messaging', 'call_count': 100, 'total_cputime': 25, 'total_time': 25}
    minutes = {'estimated_time_to_regain_access': simulator.config.regain_minutes}
    return json.dumps({simulator.number(send.phone_number_id).waba_id: [used | minutes]})


def has_unreachable_link(body: dict) -> bool:
    """Meta fetches a link later and reports 131053.

    Here no host under .invalid answers (RFC 2606).
    """
    content = body.get(body.get('type', 'text'))
    host = urlsplit(str(content.get('link'))).hostname if isinstance(content, dict) else None
    return bool(host) and host.endswith('.invalid')


class Call:
    """A valid send on its way to an answer."""

    def __init__(self, simulator: Simulator, request: web.Request, send: Send, body: dict) -> None:
        self.simulator, self.request, self.send, self.body = simulator, request, send, body
        self.is_group = body.get('recipient_type') == 'group'
        self.input = str(body.get('to') or body['recipient'])
        is_phone = bool(body.get('to')) and not self.is_group and not is_user_id(body['to'])
        send.recipient = digits_of(self.input) if is_phone else self.input
        self.wa_id = simulator.customers.wa_id(send.recipient) if is_phone else send.recipient
        send.opaque = body.get('biz_opaque_callback_data')
        self.plan = self.planned()
        self.delay = simulator.config.latency if self.plan.delay is None else self.plan.delay

    def planned(self) -> Behaviour:
        if self.is_group:
            return ORDINARY
        # Meta takes a BSUID in `to` and never delivers it.
        return SILENT if is_user_id(self.body.get('to')) else behaviour(magic_digits(self.body))

    async def answer(self) -> web.StreamResponse:
        match self.plan.answer:
            case Answer.RESET:
                return self.reset()
            case Answer.HTML:
                return await self.html()
            case Answer.ERROR if self.still_refused():
                self.show_refusal()
                return await refuse(self.simulator, self.send, self.plan.code)
            case _:
                return await self.accept()

    def note(self, status: int | str, detail: str) -> None:
        self.simulator.chats.note('from_gateway', f'send to {self.send.recipient}', status, detail)

    def still_refused(self) -> bool:
        key = (self.send.recipient, self.send.opaque)
        attempts = self.simulator.attempts
        attempts[key] = attempts.get(key, 0) + 1
        return self.plan.times == 0 or attempts[key] <= self.plan.times

    def show_refusal(self) -> None:
        self.show(
            f'refused.{self.send.index}',
            refused={'code': self.plan.code, 'title': title(self.plan.code)},
        )

    def reset(self) -> web.Response:
        self.send.outcome = 'reset'
        self.note('reset', 'not accepted')
        self.request.transport.get_extra_info('socket').setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE
        )
        self.request.transport.abort()
        return web.Response()  # goes nowhere

    async def html(self) -> web.Response:
        self.send.outcome, self.send.answer = 'html', 500
        await asyncio.sleep(self.delay)
        self.note(500, 'HTML, not accepted')
        return web.Response(text=HTML_PAGE, content_type='text/html', status=500)

    async def accept(self) -> web.StreamResponse:
        """From here on the message exists, whatever the gateway hears of it."""
        receipt = self.receipt()
        early = (
            self.plan.statuses is Statuses.BEFORE_ANSWER
            or self.simulator.config.status_before_answer
        )
        if early:
            await self.simulator.statuses.before_answer(receipt, self.plan)
        await asyncio.sleep(self.delay)
        if not early:
            self.simulator.statuses.schedule(receipt, self.plan)
        return self.lose() if self.plan.answer is Answer.LOST else self.good(receipt)

    def receipt(self) -> Receipt:
        customer, send = self.customer(), self.send
        send.wamid, send.outcome = new_wamid(customer.wa_id or UNKNOWN_PHONE), 'accepted'
        return Receipt(
            number=self.simulator.number(send.phone_number_id),
            customer=customer,
            wamid=send.wamid,
            opaque=send.opaque,
            kind=self.body.get('type', 'text'),
            by_user_id=not self.body.get('to'),
            group_id=send.recipient if self.is_group else None,
            entry=self.show(send.wamid),
            unreachable_link=has_unreachable_link(self.body),
        )

    def show(self, wamid: str, **more) -> dict:
        """The message as the phone page has it."""
        kind = self.body.get('type', 'text')
        message = {'type': kind, kind: self.body[kind], 'context': self.body.get('context')}
        if kind == 'template':
            message['rendered'] = self.simulator.templates.rendered(self.body['template'])
        return self.simulator.chats.add(self.customer().chat, 'outbound', wamid, message, **more)

    def customer(self) -> Customer:
        customers, to = self.simulator.customers, self.body.get('to')
        if self.is_group:
            return customers.with_phone(
                '12025550199'
            )  # some participant; the group id is the recipient
        if to and not is_user_id(to):
            return customers.with_phone(self.wa_id)
        return customers.with_user_id(str(to or self.body['recipient']))

    def lose(self) -> web.Response:
        self.note('no answer', 'accepted, answer lost')
        self.request.transport.close()
        return web.Response()  # goes nowhere

    def good(self, receipt: Receipt) -> web.Response:
        self.send.answer = 200
        self.note(
            200,
            'accepted, but no id in the answer' if self.plan.answer is Answer.NO_ID else 'accepted',
        )
        return web.Response(
            body=json.dumps(self.answer_body(receipt)).encode(), content_type='application/json'
        )

    def answer_body(self, receipt: Receipt) -> dict:
        contact = {'input': self.input, 'user_id' if receipt.by_user_id else 'wa_id': self.wa_id}
        if self.simulator.config.answer_both_ids and not self.is_group:
            customer = receipt.customer
            contact |= (
                {'wa_id': customer.wa_id, 'user_id': customer.user_id} if customer.wa_id else {}
            )
        answer = {'messaging_product': 'whatsapp', 'contacts': [contact]}
        if self.plan.answer is Answer.NO_ID:
            return answer
        message = {'id': receipt.wamid}
        if receipt.kind == 'template':
            message['message_status'] = 'accepted'
        return answer | {
            'messages': [message | ({'group_id': receipt.group_id} if self.is_group else {})]
        }
