#!/usr/bin/env bash
# pywa 4.5.0 (Python), whatsapp-api-js 6.3.0 (Node): of several customers' messages in one webhook they hear the first.
#
# Meta puts up to 1000 updates into one POST when there is much to tell (Graph API, "Getting started with webhooks"):
# several `messages` or `statuses` in a `value`, several `changes`, several `entry`. Both read item 0 of each list, and
# answer that all is well: Meta does not repeat the webhook, and no log above DEBUG tells of it. It passes every trial
# with one telephone, and begins with the first busy hour. (david-lev/pywa#229, open, says it of statuses.) With pywa a
# raw-update handler sees the rest, with whatsapp-api-js the `raw` of the first message.
#
# Prints who is heard of which webhook. Exits with 1 when either client does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory" && python3 -m venv env
env/bin/pip install -q --disable-pip-version-check pywa==4.5.0
npm install --silent --no-audit --no-fund --ignore-scripts whatsapp-api-js@6.3.0
env/bin/python - << 'PYTHON'
import json
from pathlib import Path

from pywa import WhatsApp


def value(*people):
    contacts = [{'profile': {'name': name}, 'wa_id': wa_id, 'user_id': f'US.{wa_id}'} for name, wa_id in people]
    messages = [{'from': wa_id, 'from_user_id': f'US.{wa_id}', 'id': f'wamid.{name}', 'timestamp': '1790000000',
                 'type': 'text', 'text': {'body': f'This is {name}'}} for name, wa_id in people]
    metadata = {'display_phone_number': '15550104477', 'phone_number_id': '300112233445566'}
    return {'messaging_product': 'whatsapp', 'metadata': metadata, 'contacts': contacts, 'messages': messages}


def body(*values_of_entries):
    entry = [{'id': '880011223344556', 'changes': [{'field': 'messages', 'value': value} for value in values]}
             for values in values_of_entries]
    return {'object': 'whatsapp_business_account', 'entry': entry}


ines, ben = ('Ines', '12025550143'), ('Ben', '12025550178')
BODIES = [body([value(ines)]), body([value(ines, ben)]), body([value(ines), value(ben)])]
BODIES.append(body([value(ines)], [value(ben)]))
Path('bodies.json').write_text(json.dumps(BODIES))
heard = []
client = WhatsApp('300112233445566', 'token', verify_token='verify', validate_updates=False)
client.on_message(lambda _, message: heard[-1].append(message.text))
for each in BODIES:
    heard.append([])
    assert client.webhook_update_handler(update=json.dumps(each).encode()) == ('ok', 200)
print('alone, in one value, in two changes, in two entries; pywa hears', heard)
assert heard == [['This is Ines']] * 4
PYTHON
node --input-type=module -e '
import { readFileSync } from "node:fs";
import { WhatsAppAPI } from "whatsapp-api-js";
const client = new WhatsAppAPI({ token: "token", secure: false, v: "v26.0" });
const heard = [];
client.on.message = ({ message }) => heard.at(-1).push(message.text.body);
for (const body of JSON.parse(readFileSync("bodies.json"))) { heard.push([]); await client.post(body); }
console.log("whatsapp-api-js hears", heard);
process.exit(heard.every((texts) => texts.join() === "This is Ines") ? 0 : 1);'
