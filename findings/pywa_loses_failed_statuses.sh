#!/usr/bin/env bash
# pywa 4.5.0: a handler of message statuses never hears that a message failed.
#
# Meta's webhook of a status has `contacts` with sent, delivered and read, and none with failed (its page on
# business-scoped user ids; recordings agree). pywa takes the user of every status from value["contacts"]: of a failed one
# that is a KeyError, which it writes to its log, and it answers 200, so that Meta does not repeat the webhook. The same
# status with `contacts`, which nobody sends, arrives. So a service that counts failures, or sends by another way what did
# not arrive, waits for ever; a raw-update handler sees them. (Updates of before 2026, without `user_id`, share that fate.)
#
# Exits non-zero when pywa does anything else.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q pywa==4.5.0
"$place/venv/bin/python" - 2> "$place/log" <<'PYTHON'
import json
from pywa import WhatsApp

heard = []
client = WhatsApp('300112233445566', 'token', verify_token='verify', validate_updates=False)
client.on_message_status(lambda _, status: heard.append((status.id, status.status.value)))
CONTACT = {'profile': {'name': 'Ines'}, 'wa_id': '12025550143', 'user_id': 'US.2468013579246801'}
FAILED = {
    'id': 'wamid.F', 'status': 'failed', 'timestamp': '1790000000', 'recipient_id': '12025550143',
    'recipient_user_id': 'US.2468013579246801',
    'errors': [{'code': 131047, 'title': 'Re-engagement message', 'message': 'Re-engagement message',
                'error_data': {'details': 'More than 24 hours have passed.'}}],
}
DELIVERED = {**FAILED, 'id': 'wamid.D', 'status': 'delivered'}
del DELIVERED['errors']


def post(status, **more):
    metadata = {'display_phone_number': '15550104477', 'phone_number_id': '300112233445566'}
    value = {'messaging_product': 'whatsapp', 'metadata': metadata, 'statuses': [status], **more}
    entry = {'id': '880011223344556', 'changes': [{'field': 'messages', 'value': value}]}
    body = json.dumps({'object': 'whatsapp_business_account', 'entry': [entry]}).encode()
    heard.clear()
    answer = client.webhook_update_handler(update=body)[1]
    print(f'{status["status"]:9}', 'with contacts' if more else 'without      ', answer, 'heard:', heard)
    return answer, list(heard)


assert post(DELIVERED, contacts=[CONTACT]) == (200, [('wamid.D', 'delivered')])
assert post(FAILED) == (200, [])  # as Meta sends it
assert post({**FAILED, 'id': 'wamid.G'}, contacts=[CONTACT]) == (200, [('wamid.G', 'failed')])
PYTHON
grep -m 1 "KeyError: 'contacts'" "$place/log"
