"""What the doctor finds, for one account."""

from flask import Blueprint

from service.doctor.check import worst
from service.doctor.examination import examine
from service.runtime.db import no_connection
from service.web import operating_answers
from service.web.auth import current_key, find_account, guard, scope
from service.web.described import describe
from service.web.responses import JSONObject

blueprint = guard(Blueprint('diagnostics', __name__))


@blueprint.get('/account/<chatbot_id>/diagnostics')
@scope('read')
@describe(operating_answers.Diagnostics)
def diagnose(chatbot_id: str) -> JSONObject:
    """Look at everything that an account needs, at Meta too, and say what mends what is wrong.

    Takes up to 22 seconds when something hangs, and five calls of the Graph API. A root key sees
    each check of the gateway itself; any other one check, `gateway`.
    """
    account = find_account(chatbot_id)
    is_root = current_key().chatbot_ids is None
    with no_connection():
        checks = examine(account.chatbot_id, whole=is_root)
    return {'ok': worst(checks) == 'ok', 'checks': checks}
