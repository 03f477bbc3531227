"""What the doctor finds, for one account."""

import threading

from flask import Blueprint

from service.doctor.check import worst
from service.doctor.examination import examine
from service.runtime.db import no_connection
from service.runtime.errors import TooManyRequests
from service.web import operating_answers
from service.web.auth import current_key, find_account, guard, scope
from service.web.described import describe
from service.web.responses import JSONObject

MAX_LOOKS = 4  # of a process at a time: each holds one of its threads
looks = threading.BoundedSemaphore(MAX_LOOKS)

blueprint = guard(Blueprint('diagnostics', __name__))


@blueprint.get('/account/<chatbot_id>/diagnostics')
@scope('read')
@describe(operating_answers.Diagnostics, problems=('too_many_requests',))
def diagnose(chatbot_id: str) -> JSONObject:
    """Look at everything that an account needs, at Meta too, and say what mends what is wrong.

    Takes up to 22 seconds when something hangs, and five calls of the Graph API. A root key sees
    each check of the gateway itself; any other one check, `gateway`.
    """
    account = find_account(chatbot_id)
    is_root = current_key().chatbot_ids is None
    if not looks.acquire(blocking=False):
        raise TooManyRequests(
            f'{MAX_LOOKS} accounts are being looked at; try again a little later.'
        )
    try:
        with no_connection():
            checks = examine(account.chatbot_id, whole=is_root)
    finally:
        looks.release()
    return {'ok': worst(checks) == 'ok', 'checks': checks}
