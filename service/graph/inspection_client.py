"""What Meta says of a token, a number and who hears of its webhooks: reads, and one subscription.

Every call raises ManagementError, and takes at most SECONDS.
"""

import json
from typing import Any
from urllib.parse import quote, urlencode

from service.graph.client import JSON_BODY
from service.graph.connections import Connections
from service.graph.management_client import needs_answer, understood
from service.runtime.untrusted import as_dict, list_of_dicts

SECONDS = 4  # for one call
JSON = dict[str, Any]


class InspectionClient:
    """Connections to the Graph API for one thread."""

    def __init__(self) -> None:
        self._meta = Connections(1)

    def debug_token(self, token: str) -> JSON:
        """What a token is: is_valid, app_id, scopes, expires_at, … as the token itself may ask."""
        answer = self._call('GET', 'debug_token', token, {'input_token': token})
        return as_dict(answer.get('data'))

    def number(self, phone_number_id: str, token: str, fields: tuple[str, ...]) -> JSON:
        """Fields of a phone number; Meta refuses all of them when it does not know one."""
        return self._call('GET', _part(phone_number_id), token, {'fields': ','.join(fields)})

    def subscribed_apps(self, waba_id: str, token: str) -> list[JSON]:
        """The apps that hear of a WABA: {id, name, link, override_callback_uri} each."""
        answer = self._call('GET', f'{_part(waba_id)}/subscribed_apps', token)
        return [
            {**as_dict(entry.get('whatsapp_business_api_data')), **entry}
            for entry in list_of_dicts(answer.get('data'))
        ]

    def subscribe(self, waba_id: str, token: str) -> None:
        """Let the token's app hear of a WABA; takes away an override of the callback URL."""
        self._call('POST', f'{_part(waba_id)}/subscribed_apps', token)

    def app_subscriptions(self, app_id: str, app_secret: str) -> list[JSON]:
        """What an app has subscribed to: {object, callback_url, active, fields} each."""
        token = f'{app_id}|{app_secret}'
        answer = self._call('GET', f'{_part(app_id)}/subscriptions', token)
        return list_of_dicts(answer.get('data'))

    def _call(self, method: str, path: str, token: str, query: JSON | None = None) -> JSON:
        path = f'{path}?{urlencode(query)}' if query else path
        body, headers = (json.dumps({}), JSON_BODY) if method == 'POST' else (None, None)
        with needs_answer():
            answer = self._meta.call(method, path, token, body, headers, seconds=SECONDS)
        return understood(answer)


def _part(graph_id: str) -> str:
    return quote(graph_id, safe='')
