#!/usr/bin/env bash
# whatsapp-api-js 6.3.0: the text of a QR code, with which a customer's first message begins, is cut off or altered.
#
# createQR and updateQR put `message` into the query of the address as it is. A blank is mended by fetch; the rest has a
# meaning there: what follows an `&` becomes a parameter of its own, what follows a `#` is never sent, a `+` arrives as
# a blank. What Meta gets is a sound request with a shorter text, so nothing fails: the customers of a printed poster
# write "Table " to the shop, and no number. encodeURIComponent(message) before the call mends it. (Meta's own examples
# have the text in a JSON body, where none of it matters.)
#
# Prints what a server reads. Exits with 1 when the client does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm install --silent --no-audit --no-fund --ignore-scripts whatsapp-api-js@6.3.0
cat > ask.mjs << 'JS'
import { once } from 'node:events';
import { createServer } from 'node:http';
import { WhatsAppAPI } from 'whatsapp-api-js';

let read;
const server = createServer((request, response) => {
  read = new URL(request.url, 'http://meta').searchParams.get('prefilled_message');
  response.end('{}');
}).listen(0, '127.0.0.1');
await once(server, 'listening');
const here = `http://127.0.0.1:${server.address().port}`;
const fetchHere = (url, options) => fetch(url.replace('https://graph.facebook.com', here), options);
const client = new WhatsAppAPI({ token: 'token', secure: false, v: 'v26.0', ponyfill: { fetch: fetchHere } });

const expected = {
  'Order 7, please': 'Order 7, please',
  'Table #17': 'Table ',
  'Size 40 & blue': 'Size 40 ',
  '2+1 pizzas': '2 1 pizzas',
};
const found = {};
for (const message of Object.keys(expected)) {
  await client.createQR('300112233445566', message);
  found[message] = read;
  await client.createQR('300112233445566', encodeURIComponent(message));
  console.log(JSON.stringify(message), '->', JSON.stringify(found[message]), '; encoded before:', JSON.stringify(read));
  if (read !== message) found.encoded = read;
}
process.exit(JSON.stringify(found) === JSON.stringify(expected) ? 0 : 1);
JS
node ask.mjs
