"""The business's desk on the phone page: who has the chat, and what a person does with it.

It speaks the gateway's API, with a key, as the inbox of a platform would.
"""

from aiohttp import ClientError, ClientTimeout, web

from .simulator import SIMULATOR, Simulator

TIMEOUT = ClientTimeout(total=10)
Answer = tuple[int, dict]  # HTTP status, 0 when there was no answer, and JSON


async def show(request: web.Request) -> web.Response:
    """The customer's conversation as the gateway has it; null when it has none, or is away."""
    simulator = request.app[SIMULATOR]
    chatbot = await chatbot_of(simulator)
    return web.json_response(
        {'conversation': chatbot and await find(simulator, chatbot, request.query['wa_id'])}
    )


async def act(request: web.Request) -> web.Response:
    """Take over, give back, or answer as a person: what the gateway answered to that."""
    simulator, asked = request.app[SIMULATOR], await request.json()
    status, answer = await do(simulator, asked)
    told = answer.get('detail') or answer.get('title') if not 200 <= status < 300 else None
    return web.json_response({'status': status, 'problem': told})


async def do(simulator: Simulator, asked: dict) -> Answer:
    chatbot = await chatbot_of(simulator)
    if not chatbot:
        return 0, {'detail': 'The gateway does not answer, or has no account of this number.'}
    found = await find(simulator, chatbot, asked['wa_id'])
    if asked['do'] == 'send':
        text = {'type': 'text', 'text': {'body': asked['text']}, 'from_human': True}
        body = {'chatbot_id': chatbot, **address(found, asked['wa_id']), **text}
        return await call(simulator, 'POST', '/send', json=body)
    if not found:
        return 0, {'detail': 'This customer has no conversation yet.'}
    if asked['do'] == 'pause':
        body = {'minutes': asked.get('minutes'), 'assignee': asked.get('assignee')}
    else:
        body = {'answer': True}
    return await call(simulator, 'POST', f'/conversations/{found["id"]}/{asked["do"]}', json=body)


def address(conversation: dict | None, wa_id: str) -> dict:
    """By phone where the gateway knows it, like everybody who writes to the customer."""
    if conversation and not conversation['wa_id']:
        return {'recipient': conversation['user_id']}
    return {'to': f'+{wa_id}'}


async def chatbot_of(simulator: Simulator) -> str | None:
    """The chatbot of the number that customers write to."""
    number = simulator.flags.phone_number_id
    _, accounts = await call(simulator, 'GET', '/accounts', params={'limit': '200'})
    ours = [one for one in accounts.get('data', ()) if one['phone_number_id'] == number]
    return ours[0]['chatbot_id'] if ours else None


async def find(simulator: Simulator, chatbot: str, wa_id: str) -> dict | None:
    customer = simulator.customers.with_phone(wa_id)
    for name, value in (('user_id', customer.user_id), ('phone', wa_id)):
        wanted = {'chatbot_id': chatbot, name: value, 'limit': '1'}
        _, contacts = await call(simulator, 'GET', '/contacts', params=wanted)
        for contact in contacts.get('data', ()):
            status, found = await call(simulator, 'GET', f'/conversations/{contact["id"]}')
            return found if status == 200 else None
    return None


async def call(simulator: Simulator, method: str, path: str, **options) -> Answer:
    config = simulator.config
    headers = {'Authorization': f'Bearer {config.api_key}'}
    url = f'{config.gateway_url}/whatsapp-cloud{path}'
    try:
        async with simulator.webhook.session.request(
            method, url, headers=headers, timeout=TIMEOUT, **options
        ) as answer:
            return answer.status, await answer.json(content_type=None)
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        return 0, {'detail': f'The gateway did not answer ({type(error).__name__}).'}
