#!/usr/bin/env bash
# agno 3.1.10 (agents, with an interface to WhatsApp): an agent that puts a thumb to a message has nothing more to say.
#
# After a run the interface sends the agent's answer, unless one of WhatsAppTools ran without an error: then, it thinks,
# the agent has spoken already. It goes by the tool's name alone. So a reaction counts for an answer, and so does a text
# to somebody else: a model that reacts to a question and answers it is only seen to react; one that passes the question
# on to a colleague never tells the customer. He waits, and no log says that a text was left out.
# One stand-in is the model and Meta. Prints what Meta was to send. Exits with 1 when agno does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/env"
"$directory/env/bin/pip" install -q --disable-pip-version-check agno==3.1.10 fastapi==0.165.0 openai==3.57.0
WHATSAPP_APP_SECRET=secret "$directory/env/bin/python" - 2> "$directory/log" << 'PYTHON'
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agno.agent import Agent
from agno.models.openai import OpenAILike
from agno.os.interfaces.whatsapp import Whatsapp, helpers
from agno.tools.whatsapp import WhatsAppTools
from fastapi import FastAPI
from fastapi.testclient import TestClient

INES, BEN, ANSWER, NOTE = '12025550143', '12025550178', 'We open at nine.', 'Ines asks when we open.'
CALLS = {None: {}, 'send_reaction': {'recipient': INES, 'message_id': 'wamid.A', 'emoji': '👍'},
         'send_text_message': {'recipient': BEN, 'text': NOTE}}
found = []

class ModelAndMeta(BaseHTTPRequestHandler):
    def do_POST(self):
        body, said = json.loads(self.rfile.read(int(self.headers['Content-Length']))), {'content': ANSWER}
        if tool and 'completions' in self.path and body['messages'][-1]['role'] == 'user':
            call = {'name': tool, 'arguments': json.dumps(CALLS[tool])}
            said = {'tool_calls': [{'id': 'call', 'type': 'function', 'function': call}]}
        elif 'to' in body:  # neither the model's turn nor the tick of a message read
            found[-1].append((body['to'], list(body[body['type']].values())[-1]))
        answer = {'choices': [{'index': 0, 'message': {'role': 'assistant', **said}}], 'messages': [{'id': 'wamid.B'}]}
        self.wfile.write(f'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{json.dumps(answer)}'.encode())

server = ThreadingHTTPServer(('127.0.0.1', 0), ModelAndMeta)
threading.Thread(target=server.serve_forever, daemon=True).start()
tools = WhatsAppTools('token', '3001', enable_send_reaction=True)
helpers._BASE_URL = tools.base_url = f'http://127.0.0.1:{server.server_port}'
agent = Agent(model=OpenAILike(id='model', api_key='key', base_url=tools.base_url), tools=[tools], telemetry=False)
app = FastAPI()
app.include_router(Whatsapp(agent, access_token='token', phone_number_id='3001').get_router())
message = {'from': INES, 'id': 'wamid.A', 'timestamp': '1790000000', 'type': 'text', 'text': {'body': 'Open when?'}}
webhook = {'object': 'whatsapp_business_account', 'entry': [{'changes': [{'value': {'messages': [message]}}]}]}
signed = json.dumps(webhook).encode()
headers = {'X-Hub-Signature-256': 'sha256=' + hmac.digest(b'secret', signed, 'sha256').hex()}
for tool in CALLS:
    found.append([])
    TestClient(app).post('/whatsapp/webhook', content=signed, headers=headers).raise_for_status()
    print(f'the model calls {tool} and answers {ANSWER!r}; sent:', found[-1])
raise SystemExit(found != [[(INES, ANSWER)], [(INES, '👍')], [(BEN, NOTE)]])
PYTHON
