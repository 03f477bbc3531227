"""A newcomer's path by the documents: to a first reply, and to a green doctor of an account of
their own.

`make run` runs in a copy of the repository where all is installed; a clone and the installation,
which the README tells of, come before. Nobody reads or thinks: it is what the machine takes.
"""

import tempfile
import time
from pathlib import Path

from tests.docs import Block, Newcomer, blocks

from . import report

TIMED = '\ncode=$?; date +@@AT%s.%N; (exit $code)'
STEPS = (
    ('a first reply', """
customer '{"text": "Hello"}' > /dev/null
until api -G $GATEWAY/messages -d chatbot_id=demo -d direction=outbound | field data.0.wamid
do sleep 0.2; done"""),
    ('flask doctor demo: green', """
flask() { (set -a; . .run/env; .venv/bin/flask "$@"); }
flask doctor demo"""),
    ('an account of their own, of which no webhook comes', """
curl -sS http://127.0.0.1:9090/control/config -d '{"subscribed_apps": []}' > /dev/null
api $GATEWAY/account -d '{"chatbot_id": "own", "phone_number_id": "300155500044455",
  "waba_id": "880011223344557", "access_token": "EAAB"}' > /dev/null
! flask doctor own"""),
    ('flask subscribe own', 'flask subscribe own'),
    ('a customer writes to it; flask doctor own: green', """
curl -sS http://127.0.0.1:9090/control/customers/12025550143/messages \\
  -d '{"text": "Hello", "phone_number_id": "300155500044455"}' > /dev/null
until api -G $GATEWAY/messages -d chatbot_id=own | field data.0.id; do sleep 0.2; done
flask doctor own"""),
)  # fmt: skip


def run(options):
    report.title('a newcomer: seconds since `make run`, everything installed')
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, Newcomer(Path(directory)) as newcomer:
        rows = [('`make run` says that the gateway runs', time.monotonic() - began)]
        helpers = [one for one in blocks('README.md') if one.language == 'sh']
        typed = [one for one in helpers if 'api()' in one.text or 'later()' in one.text]
        steps = [Block('newcomer', 0, 'sh', text + TIMED) for _, text in STEPS]
        started = time.monotonic() - time.time()
        outcomes = newcomer.type(typed + steps)[len(typed) :]
    for (name, _), outcome in zip(STEPS, outcomes, strict=True):
        assert outcome.code == 0, outcome.output
        at = float(outcome.output.partition('@@AT')[2].split()[0])
        rows.append((name, at + started - began))
    report.table(('', 'seconds'), rows)
