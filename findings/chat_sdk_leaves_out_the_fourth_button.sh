#!/usr/bin/env bash
# @chat-adapter/whatsapp 4.41.1 (the Chat SDK for WhatsApp): of a card's four buttons the customer is offered three.
#
# Meta allows three reply buttons in a message. The adapter's README promises text instead for a card with more ("More
# than 3 buttons: falls back to formatted text"), and there is such a text, which names each button. But a card with any
# button goes out with its first three, and the fourth is neither a button nor in the text. So it is with the buttons of
# a second row (Actions), though they be three in all, and with a Select beside a button. postMessage resolves. What is
# left out is what stands last: "Other", "None of these", "Cancel".
#
# Prints what Meta is sent for each card. Exits with 1 when the adapter does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm install --silent --no-audit --no-fund --ignore-scripts \
    chat@4.41.1 @chat-adapter/whatsapp@4.41.1 @chat-adapter/state-memory@4.41.0
cat > ask.mjs << 'JS'
import { once } from 'node:events';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { createWhatsAppAdapter } from '@chat-adapter/whatsapp';
import { createMemoryState } from '@chat-adapter/state-memory';
import { Actions, Button, Card, CardText, Chat, Select, SelectOption } from 'chat';

let sent;
const meta = createServer(async (request, response) => {
  sent = await json(request);
  response.setHeader('Content-Type', 'application/json').end('{"messages": [{"id": "wamid.A"}]}');
}).listen(0, '127.0.0.1');
await once(meta, 'listening');
const account = { accessToken: 'token', phoneNumberId: '300112233445566', verifyToken: 'verify', appSecret: 'secret' };
const whatsapp = createWhatsAppAdapter({ ...account, apiUrl: `http://127.0.0.1:${meta.address().port}` });
const bot = new Chat({ userName: 'shop', logger: 'silent', state: createMemoryState(), adapters: { whatsapp } });
await bot.initialize();
const thread = whatsapp.encodeThreadId({ phoneNumberId: account.phoneNumberId, userWaId: '12025550143' });

const row = (...labels) => Actions(labels.map((label) => Button({ id: label.toLowerCase(), label })));
const select = Select({ id: 'day', label: 'Day', options: [SelectOption({ label: 'Monday', value: '1' })] });
const expected = [
  [[row('Today', 'Tomorrow', 'Friday')], 'Which day?', 'Today', 'Tomorrow', 'Friday'],
  [[row('Today', 'Tomorrow', 'Friday', 'Cancel')], 'Which day?', 'Today', 'Tomorrow', 'Friday'],
  [[row('Today', 'Tomorrow'), row('Cancel')], 'Which day?', 'Today', 'Tomorrow'],
  [[Actions([select, Button({ id: 'cancel', label: 'Cancel' })])], 'Which day?', 'Cancel'],
];
let same = true;
for (const [rows, ...shown] of expected) {
  await whatsapp.postMessage(thread, Card({ children: [CardText('Which day?'), ...rows] }));
  const found = [sent.interactive.body.text, ...sent.interactive.action.buttons.map(({ reply }) => reply.title)];
  const given = rows.map(({ children }) => children.map(({ label }) => label).join(', ')).join(' / ');
  console.log(`${given} -> ${JSON.stringify(found)}`);
  same &&= JSON.stringify(found) === JSON.stringify(shown);
}
process.exit(same ? 0 : 1);
JS
node ask.mjs
