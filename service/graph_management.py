"""The Graph API's other side: what a WhatsApp Business account owns. Its templates are read, made and deleted."""

import json
import time
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from service.config import settings
from service.graph import Outcome, refusal
from service.webhook_events import as_dict

FIELDS = 'id,name,language,status,category,components,parameter_format,quality_score,rejected_reason'
PAGE, MAX_PAGES = 100, 100  # templates; Meta allows 6000 of a WABA (section 8)
PATIENCE = 120  # seconds for all pages


class Refused(Exception):
    """What Meta did not do, as an Outcome: `held` is about the account, `failed` about the request, others pass."""

    def __init__(self, outcome):
        super().__init__(outcome.error['title'])
        self.outcome = outcome


def _refused(kind, title, cause=None):
    return Refused(Outcome(kind, error={'code': None, 'title': title, 'details': None, 'fbtrace_id': None,
                                        'cause': cause}))  # fmt: skip


class ManagementClient:
    """Connections to the Graph API for `concurrency` threads. Every call raises Refused."""

    def __init__(self, concurrency=1):
        timeout = urllib3.Timeout(total=settings.GRAPH_TIMEOUT)
        self._manager = urllib3.PoolManager(num_pools=2, maxsize=concurrency, timeout=timeout, retries=False)

    def templates(self, waba_id, token):
        """All templates of a WABA, as Meta gives them."""
        found, after, deadline = [], None, time.monotonic() + PATIENCE
        for _ in range(MAX_PAGES):
            query = {'fields': FIELDS, 'limit': PAGE} | ({'after': after} if after else {})
            page = self._call('GET', waba_id, token, query)
            if not isinstance(page.get('data'), list):
                raise _refused('failed', 'Meta answered something that is no list of templates')
            found += page['data']
            before, after = after, _after(as_dict(page.get('paging')))
            if not after:
                return found
            if after == before or time.monotonic() > deadline:
                break
        raise _refused('retry', 'The list of templates does not end', 'unreachable')

    def create_template(self, waba_id, token, body):
        """Meta's answer: id, status, category."""
        return self._call('POST', waba_id, token, {}, body)

    def delete_template(self, waba_id, token, name, template_id=None):
        """All languages of a name, or the one of this id."""
        return self._call('DELETE', waba_id, token, {'name': name} | ({'hsm_id': template_id} if template_id else {}))

    def _call(self, method, waba_id, token, query, body=None):
        edge = f'{quote(waba_id, safe="")}/message_templates'
        url = f'{settings.GRAPH_API_URL}/{settings.GRAPH_API_VERSION}/{edge}' + (
            f'?{urlencode(query)}' if query else ''
        )
        headers = {'Authorization': f'Bearer {token}'} | ({'Content-Type': 'application/json'} if body else {})
        try:
            answer = self._manager.request(method, url, headers=headers, body=body and json.dumps(body), redirect=False)
        except HTTPError as error:
            raise _refused('unknown', f'No answer from Meta ({type(error).__name__})', 'no_answer') from None
        return _understood(answer)


def _after(paging):
    """The cursor of the next page, if there is one. Meta's address for it is not followed: it might lead elsewhere."""
    if not isinstance(paging.get('next'), str):
        return None
    after = as_dict(paging.get('cursors')).get('after')
    return after if isinstance(after, str) else (parse_qs(urlsplit(paging['next']).query).get('after') or [None])[0]


def _understood(answer):
    try:
        body = as_dict(json.loads(answer.data))
    except (ValueError, RecursionError):
        body = None
    if answer.status >= 300:
        raise Refused(refusal(answer, body or {}))
    if body is None:
        raise _refused('unknown', 'Meta answered something that is not JSON', 'no_answer')
    return body
