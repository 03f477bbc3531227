"""POST /endpoints/<id>/test: an endpoint is told something now, and what came of it is answered."""

import json

from service.events import endpoint_client, event_body
from service.events.endpoint import Endpoint
from service.events.endpoint_client import Attempt
from service.events.event import RELAY, Event
from service.events.event_types import TEST
from service.runtime.encryption import DecryptionError
from service.runtime.ids import new_id

# Meta's envelope with no message in it, of no number: a service that was written against Meta finds
# nothing to do. Without a change in it clients fail (pywa 4.5 with HTTP 500).
METADATA = {'display_phone_number': '0', 'phone_number_id': '0'}
CHANGE = {'field': 'messages', 'value': {'messaging_product': 'whatsapp', 'metadata': METADATA}}
EMPTY_WEBHOOK = json.dumps(
    {'object': 'whatsapp_business_account', 'entry': [{'id': '0', 'changes': [CHANGE]}]}
).encode()


def attempt(endpoint: Endpoint) -> Attempt:
    """Tell it, whatever its state; it may take endpoint_client.SECONDS. Hold no connection."""
    event_id = new_id()
    body = EMPTY_WEBHOOK if endpoint.kind == RELAY else _test_event(event_id, endpoint)
    try:
        secrets = endpoint.secrets()
    except DecryptionError as error:
        return Attempt(None, 0, str(error))
    headers = endpoint_client.signed_headers(endpoint.kind, event_id, body, secrets)
    return endpoint_client.post(endpoint.url, body, headers)


def _test_event(event_id: str, endpoint: Endpoint) -> bytes:
    told = {'endpoint': endpoint.to_dict()}
    event = Event(event_id, TEST, endpoint.chatbot_id or '', None, None, told)
    (body,) = event_body.bodies([event])
    return event_body.to_text(body | {'chatbot_id': endpoint.chatbot_id}).encode()
