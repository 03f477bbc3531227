"""Where Meta calls: its verification, and signed webhooks, committed before they are answered."""

import logging
import time
from collections.abc import Sequence
from itertools import count

from flask import Blueprint, Response, request

from service.accounts.account import Account
from service.runtime import encryption, metrics
from service.runtime.config import settings
from service.runtime.db import connection
from service.runtime.errors import BadRequest, Forbidden
from service.runtime.queues import INCOMING, wake
from service.runtime.untrusted import UNSTORABLE
from service.web.auth import is_one_of, scope, verified_digest
from service.web.described import JSON, describe
from service.web.plain_shapes import METAS_WEBHOOK, SIGNATURE, TEXT
from service.web.request_input import query_parameters
from service.webhooks.inbox import SignedBody, store_events

Secrets = Sequence[str]

log = logging.getLogger(__name__)
blueprint = Blueprint('webhook', __name__, url_prefix='/whatsapp-cloud/webhook')
rejected = count(1)
STORED = metrics.webhooks.labels('stored')
REFUSED = metrics.webhooks.labels('refused')
SECRETS_SECONDS = 2  # that the secrets of a path are known without asking PostgreSQL
# By chatbot_id: (monotonic time, secrets). Only secrets that have verified a body are here, so
# that the paths of strangers never fill it.
_known_secrets: dict[str, tuple[float, Secrets]] = {}


@blueprint.get('', defaults={'chatbot_id': None})
@blueprint.get('/<chatbot_id>')
@scope('public')
@query_parameters('hub.mode', 'hub.verify_token', 'hub.challenge')
@describe(TEXT, content_type='text/plain', problems=('verification_refused',))
def verify(chatbot_id: str | None) -> Response:
    """Answer Meta's question whether this URL is ours (section 1.1).

    The challenge is a stranger's text, so it never goes out as HTML.
    """
    tokens = _secrets(chatbot_id, 'webhook_verify_token', (settings.WHATSAPP_VERIFY_TOKEN,))
    is_ours = is_one_of(request.args.get('hub.verify_token', ''), tokens)
    if request.args.get('hub.mode') != 'subscribe' or not is_ours:
        log.warning('webhook verification refused', extra={'chatbot_id': chatbot_id})
        refused = Forbidden(
            'hub.mode is not subscribe, or hub.verify_token is not the one of this path.',
            code='verification_refused',
        )
        refused.is_logged = True
        raise refused
    return Response(
        request.args.get('hub.challenge', ''),
        mimetype='text/plain',
        headers={'X-Content-Type-Options': 'nosniff'},
    )


@blueprint.post('', defaults={'chatbot_id': None})
@blueprint.post('/<chatbot_id>')
@scope('public')
@describe(
    TEXT,
    content_type='text/plain',
    bodies={JSON: METAS_WEBHOOK},
    problems=('signature_invalid', 'database_away'),
    headers=(SIGNATURE,),
)
def receive(chatbot_id: str | None) -> Response:
    """Check the signature over the raw bytes, commit them, wake the workers, then answer."""
    body = request.get_data(cache=False)
    secrets = _secrets(chatbot_id, 'app_secret', settings.WHATSAPP_APP_SECRET)
    digest = verified_digest(body, request.headers.get('X-Hub-Signature-256'), secrets)
    if digest is None:
        log.warning(
            'webhook refused: signature',
            extra={'chatbot_id': chatbot_id, 'size': len(body), 'refused': next(rejected)},
        )
        REFUSED.inc()
        refused = BadRequest('X-Hub-Signature-256 is missing or wrong.', code='signature_invalid')
        refused.is_logged = True
        raise refused
    if chatbot_id:
        _known_secrets[chatbot_id] = (time.monotonic(), secrets)
    store_events([SignedBody(chatbot_id or '', digest, body)])
    STORED.inc()
    wake(INCOMING)
    return Response('OK', mimetype='text/plain')


def known_secrets(chatbot_id: str) -> Secrets:
    """What verified a body of this path within SECRETS_SECONDS, else nothing."""
    at, secrets = _known_secrets.get(chatbot_id, (0, ()))
    return secrets if time.monotonic() - at < SECRETS_SECONDS else ()


def _secrets(chatbot_id: str | None, column: str, shared: Secrets) -> Secrets:
    """What verifies on a path: the account's own secret, or `shared`; nothing for a stranger's."""
    if chatbot_id is None:
        return shared
    if UNSTORABLE.search(chatbot_id):
        return ()
    with connection():
        account = Account.get_or_none(Account.chatbot_id == chatbot_id)
    if account is None:
        return ()
    own = getattr(account, column)
    return (encryption.decrypt(own),) if own else shared
