"""Three send workers on one number held to 80 a second: what arrived at Meta's side."""

from tests.stack import PHONE_NUMBER_ID

from . import report, send
from .stand import CHATBOT, Stand

RATE, COUNT, WORKERS = 80, 1200, 3


def run(options):
    with Stand(0.05, **send.ENVIRON) as stand:
        report.title(f'{WORKERS} workers on one number with max_mps={RATE}, {COUNT} messages')
        stand.account(CHATBOT, PHONE_NUMBER_ID, max_mps=RATE)
        send.start(stand, WORKERS)
        send.queue(stand, COUNT)
        send.reached(stand, COUNT)
        send.exactly_once(stand, COUNT)
        seen = stand.graph.report()[PHONE_NUMBER_ID]
    report.table(
        ('', 'measured', 'goal'),
        [
            ('most in any sliding second', seen['most_in_a_second'], f'at most {RATE}'),
            ('average a second (slope)', seen['a_second'], f'at least {RATE * 0.95:.0f}'),
        ],
    )
