#!/usr/bin/env bash
# @kapso/whatsapp-cloud-api 0.3.0 (npm): a customer who quotes his own message is taken for the business.
#
# normalizeWebhook gives each message a direction, so that one "can tell when the business initiated a message". It
# takes `context.from` for a number of the business too, as though customers quoted the business alone. Meta puts the
# author of the quoted message there. When a customer swipes his own unanswered question to ask again, that is himself
# (recorded in chatwoot/chatwoot#14953, July 2026), and his message is "outbound". A bot that passes over what the
# business wrote, in order not to answer itself, is silent to the customer who asks twice. `kapso.source`, which marks
# what staff wrote in the app, is missing here and tells the two apart.
#
# Prints the direction of each text, `from` being the customer in all. Exits with 1 when the client does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm install --silent --no-audit --no-fund --ignore-scripts @kapso/whatsapp-cloud-api@0.3.0
cat > ask.mjs << 'JS'
import { normalizeWebhook } from '@kapso/whatsapp-cloud-api/server';

const [business, customer, user] = ['15550104477', '12025550143', 'US.2468013579246801'];
const metadata = { display_phone_number: business, phone_number_id: '300112233445566' };
const contacts = [{ profile: { name: 'Ines' }, wa_id: customer, user_id: user }];
const from = { from: customer, from_user_id: user };

function direction(context) {
  const text = { type: 'text', text: { body: 'Well?' } };
  const messages = [{ ...from, id: 'wamid.B', timestamp: '1790000000', ...text, context }];
  const value = { messaging_product: 'whatsapp', metadata, contacts, messages };
  const entry = [{ id: '880011223344556', changes: [{ field: 'messages', value }] }];
  return normalizeWebhook({ object: 'whatsapp_business_account', entry }).messages[0].kapso;
}

const expected = [
  ['no quotation', undefined, 'inbound'],
  ['quotes the business', { from: business, id: 'wamid.OURS' }, 'inbound'],
  ['forwarded', { forwarded: true }, 'inbound'],
  ['quotes himself', { ...from, id: 'wamid.A' }, 'outbound'],
];
let same = true;
for (const [name, context, wanted] of expected) {
  const found = direction(context);
  console.log(`${name}: ${JSON.stringify(found)}`);
  same &&= JSON.stringify(found) === JSON.stringify({ direction: wanted });
}
process.exit(same ? 0 : 1);
JS
node ask.mjs
