"""Who has logged in: a cookie that only this gateway can make and read.

It holds no key, only its SHA-256, so each request finds the key anew: one that was deleted, or has
expired, opens nothing any more. Neither does a copy of the cookie after its log-out.
"""

import hmac
import json
import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import g, request
from werkzeug.wrappers import Response

from service.accounts.api_key import Key, digest_of
from service.runtime import encryption
from service.runtime.db import connection, execute, fetch
from service.runtime.errors import BadRequest, Unauthorized
from service.web.auth import key_of_digest

PATH = '/whatsapp-cloud/dashboard'
COOKIE, NOTICE_COOKIE = 'dashboard', 'dashboard_notice'
SESSION_SECONDS = 12 * 3600
NOTICE_SECONDS = 60  # for the next page, which shows it
READS = ('GET', 'HEAD', 'OPTIONS')
FOREIGN = 'This form does not come from this dashboard. Open the page anew and try again.'
STALE = 'This form belongs to another log-in. Open the page anew and try again.'
# A day is longer than SESSION_SECONDS, whatever the clocks say.
END = """
WITH outlived AS (DELETE FROM dashboard_logout WHERE at < now() - interval '1 day')
INSERT INTO dashboard_logout (session) VALUES (%(session)s) ON CONFLICT DO NOTHING
"""
FIND_ENDED = 'SELECT 1 FROM dashboard_logout WHERE session = %(session)s'


@dataclass(frozen=True, slots=True)
class Session:
    """`csrf`: the word that each form of this log-in carries."""

    key: Key
    csrf: str

    @property
    def digest(self) -> bytes:
        """What the table of log-outs knows it by."""
        return digest_of(self.csrf)


def current() -> Session:
    """The session of this request; its key is the request's key. Raises Unauthorized."""
    if 'dashboard_session' not in g:
        g.dashboard_session = _read()
        g.key = g.dashboard_session.key
    session: Session = g.dashboard_session
    return session


def is_open() -> bool:
    """Whether this request comes from somebody who has logged in."""
    try:
        current()
    except Unauthorized:
        return False
    return True


def _read() -> Session:
    content = _opened(request.cookies.get(COOKIE, ''))
    match content:
        # The clock of the process that made it may be ahead of ours.
        case {'key': str(digest), 'csrf': str(csrf), 'at': int(at)} if (
            time.time() - at < SESSION_SECONDS
        ):
            key = key_of_digest(bytes.fromhex(digest))
            if key is not None and not _has_ended(found := Session(key, csrf)):
                return found
    raise Unauthorized('Log in first.')


def _has_ended(session: Session) -> bool:
    with connection():
        return bool(fetch(FIND_ENDED, {'session': session.digest}))


def open_session(answer: Response, text: str) -> None:
    """Log in with a key: the answer gets the cookie."""
    content = {
        'key': digest_of(text).hex(),
        'csrf': secrets.token_urlsafe(24),
        'at': int(time.time()),
    }
    _set(answer, COOKIE, content, SESSION_SECONDS)


def close_session(answer: Response) -> None:
    """Log out: neither this browser's cookie nor a copy of it opens anything any more."""
    execute(END, {'session': current().digest})
    for name in (COOKIE, NOTICE_COOKIE):
        answer.delete_cookie(name, path=PATH)


def leave_notice(answer: Response, text: str, tone: str) -> None:
    """Let the next page say what has been done. `tone`: good or bad."""
    _set(answer, NOTICE_COOKIE, {'notice': text, 'tone': tone}, NOTICE_SECONDS)


def notice() -> dict[str, str] | None:
    """What the page before has left to say."""
    content = _opened(request.cookies.get(NOTICE_COOKIE, ''))
    return content if isinstance(content, dict) and 'notice' in content else None


def forget_notice(answer: Response) -> None:
    answer.delete_cookie(NOTICE_COOKIE, path=PATH)


def _set(answer: Response, name: str, content: object, seconds: int) -> None:
    sealed = encryption.encrypt(json.dumps(content)) or ''
    is_https = request.is_secure or request.headers.get('Origin', '').startswith('https:')
    answer.set_cookie(
        name,
        sealed,
        max_age=seconds,
        path=PATH,
        secure=is_https,
        httponly=True,
        samesite='Strict',
    )


def _opened(sealed: str) -> object:
    try:
        return json.loads(encryption.decrypt(sealed))
    except (encryption.DecryptionError, ValueError):
        return None


def check_origin() -> None:
    """Raise BadRequest for what another site has sent: the browser says where it comes from."""
    site = request.headers.get('Sec-Fetch-Site')
    origin = urlsplit(request.headers.get('Origin', '')).netloc
    is_ours = site == 'same-origin' if site else origin == request.host
    if not is_ours:
        raise BadRequest(FOREIGN)


def check_login_origin() -> None:
    """The same for the log-in, which a program may send that says nothing of where it comes from.

    Such a form is no other site's, since a browser's POST always says it, and it brings a key.
    """
    if 'Sec-Fetch-Site' in request.headers or 'Origin' in request.headers:
        check_origin()


def check_form() -> None:
    """Raise BadRequest when what changes something is no form of this session's own pages.

    A script sends the word as the header X-CSRF-Token.
    """
    if request.method in READS:
        return
    check_origin()
    given = request.headers.get('X-CSRF-Token') or request.form.get('csrf', '')
    if not hmac.compare_digest(given.encode('utf-8', 'replace'), current().csrf.encode()):
        raise BadRequest(STALE)
