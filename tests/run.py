"""The whole gateway on this machine: `make run`.

1. PostgreSQL and Redis: those of DATABASE_URL and REDIS_URL,
   else embedded ones with their data in .run/ here.
2. The Procfile: the release entry, then every process.
3. The stand-in for Meta, with the phone in the browser.
4. A demo account, and the webhook verified as Meta does it.

All end together: at Ctrl-C, at SIGTERM, or when one of them ends by itself.
"""

import os
import shlex
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

import requests
from honcho.colour import get_colours
from honcho.printer import Message, Printer

from tests import stack

DIRECTORY = Path('.run').resolve()
STOP_SECONDS = 8
PHONE = '12025550143'  # whom the phone page shows at first
ACCOUNT = {
    'chatbot_id': 'demo',
    'phone_number_id': stack.PHONE_NUMBER_ID,
    'waba_id': '880011223344556',
    'access_token': 'demo-token',
    'name': 'Demo',
}
RESPONDER = {
    'kind': 'openai',
    'api_key': 'demo',
    'model': 'demo',
    'system_prompt': 'You are a friendly shop assistant.',
}


class Stopped(Exception):
    """Ctrl-C or SIGTERM came: everything ends."""


class Output:
    """Every process's lines on our standard output, its name before them, in a colour of its own on
    a terminal.
    """

    def __init__(self):
        self._printer = Printer(sys.stdout, width=len('worker_incoming'))
        self._colours, self._of = get_colours(), {}

    def __call__(self, name, line):
        colour = (
            self._of[name] if name in self._of else self._of.setdefault(name, next(self._colours))
        )
        now = datetime.now().astimezone()
        self._printer.write(Message('line', line, now, name, colour))


def main():
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        run()
    except Stopped:
        return 0
    except (AssertionError, RuntimeError, requests.RequestException) as error:
        print(f'\n{error}', file=sys.stderr)
        return 1


def run():
    web, meta = stack.free_port(int(os.environ.get('PORT', '8000'))), stack.free_port(9090)
    servers, processes = [], None
    try:
        say('Starting PostgreSQL and Redis')
        environment = start_servers(servers, web, meta)
        say('Starting the gateway and the stand-in for Meta')
        processes = stack.Processes(DIRECTORY, environment, on_line=Output())
        start_processes(processes, environment, web, meta)
        set_up(environment, web, meta)
        say(welcome(environment, web, meta))
        watch(processes)
    finally:
        say('\nStopping')
        end(processes, servers, STOP_SECONDS)


def start_servers(servers, web, meta):
    """The contract's environment, once both servers answer; started ones are added to `servers`."""
    addresses = {}
    for variable, kind, name in (
        ('DATABASE_URL', stack.Postgres, 'postgres'),
        ('REDIS_URL', stack.Redis, 'redis'),
    ):
        addresses[variable] = os.environ.get(variable)
        if not addresses[variable]:
            servers.append(kind(DIRECTORY / name))
            addresses[variable] = servers[-1].start().url
    environment = stack.demo_env(
        DIRECTORY,
        **addresses,
        PORT=str(web),
        GRAPH_API_URL=local(meta),
        AI_BASE_URL=f'{local(meta)}/v1',
        AI_API_KEY='demo',
        AI_MODEL='demo',
        MEDIA_URL=f'file://{DIRECTORY}/media',
    )
    write_down(environment)
    return environment


def write_down(environment):
    """For whoever wants to run a command beside the processes."""
    file = DIRECTORY / 'env'
    file.touch(mode=0o600)
    file.write_text(
        ''.join(f'{name}={shlex.quote(value)}\n' for name, value in environment.items())
    )


def start_processes(processes, environment, web, meta):
    if code := processes.run('release'):
        raise RuntimeError(f'the release entry ended with {code}')
    processes.start('simulator', command=simulator(environment, web, meta))
    for name in processes.commands:
        if name != 'release':
            processes.start(name)
    stack.wait_until(
        lambda: ended(processes) or answers(web),
        timeout=60,
        message=f'no answer from {local(web)}/healthz',
    )
    processes.wait_port(meta)


def simulator(environment, web, meta):
    options = {
        'port': meta,
        'webhook-url': f'{local(web)}/whatsapp-cloud/webhook',
        'app-secret': environment['WHATSAPP_APP_SECRET'],
        'verify-token': environment['WHATSAPP_VERIFY_TOKEN'],
        'phone-number-id': stack.PHONE_NUMBER_ID,
        'gateway-url': local(web),
        'api-key': api_key(environment),
    }
    return ' '.join(
        [
            'python -m tests.simulator',
            *(shlex.quote(f'--{name}={value}') for name, value in options.items()),
        ]
    )


def answers(web):
    try:
        return requests.get(f'{local(web)}/healthz', timeout=2).ok
    except requests.ConnectionError:
        return False


def ended(processes):
    """Raises once a process has ended: one missing is a gateway that only looks alive."""
    for name, family in processes.children.items():
        for child in family:
            if name != 'release' and child.returncode is not None:
                raise RuntimeError(f'{name} ended with {child.returncode}')


def set_up(environment, web, meta):
    key = {'Authorization': f'Bearer {api_key(environment)}'}
    account = {**ACCOUNT, 'responder': {**RESPONDER, 'base_url': f'{local(meta)}/v1'}}
    made = requests.post(
        f'{local(web)}/whatsapp-cloud/account', json=account, headers=key, timeout=10
    )
    if not made.ok:
        raise RuntimeError(f'the demo account was refused: {made.status_code} {made.text}')
    question = {
        'hub.mode': 'subscribe',
        'hub.verify_token': environment['WHATSAPP_VERIFY_TOKEN'],
        'hub.challenge': '1158201444',
    }
    verified = requests.get(f'{local(web)}/whatsapp-cloud/webhook', params=question, timeout=10)
    if verified.text != question['hub.challenge']:
        raise RuntimeError(f'the webhook did not verify: {verified.status_code} {verified.text}')


def welcome(environment, web, meta):
    return f"""
  The gateway runs.

  Phone     {local(meta)}/      write as a customer, see the reply and its ticks
  API       {local(web)}/whatsapp-cloud
  Dashboard {local(web)}/whatsapp-cloud/dashboard
  API key   {api_key(environment)}

  Send a message to that phone:

  curl {local(web)}/whatsapp-cloud/send \\
    -H 'Authorization: Bearer {api_key(environment)}' -H 'Content-Type: application/json' \\
    -d '{{"chatbot_id": "demo", "to": "+{PHONE}", "text": {{"body": "Hello"}}}}'

  Data and secrets are kept in .run/. Ctrl-C stops everything.
"""


def watch(processes):
    while not ended(processes):
        time.sleep(0.2)


def end(processes, servers, timeout):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if processes:
        processes.stop_all(timeout)
    for server in servers:
        server.stop()


def stop(signum, _frame):
    raise Stopped(signal.Signals(signum).name)


def say(line):
    print(line, flush=True)


def api_key(environment):
    return environment['API_KEYS'].split(',')[0]


def local(port):
    return f'http://127.0.0.1:{port}'


if __name__ == '__main__':
    sys.exit(main())
