#!/usr/bin/env bash
# @builderbot/provider-meta 1.2.2 (BuilderBot's way to the Cloud API): a message that failed costs customers' messages.
#
# Meta tells by a webhook that a message failed, and wants 200 for having been heard. The provider answers 400, with the
# error in it. So Meta takes the webhook for undelivered, repeats it at once and ever more rarely for up to seven days,
# maybe to the account's other apps as well, and each time a `notice` goes out as if one more message had failed. What
# else that POST holds is not read: Meta puts up to 1000 updates into one, and what a customer wrote beside a failed
# status reaches no flow, however often it is sent with it. Beside a status that is `read` it does.
#
# Prints the answer to each webhook and what the bot heard. Exits with 1 when the provider does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm install --silent --no-audit --no-fund --ignore-scripts @builderbot/bot@1.3.13 @builderbot/provider-meta@1.2.2
cat > ask.mjs << 'JS'
import { setTimeout } from 'node:timers/promises';
import { MetaProvider } from '@builderbot/provider-meta';

const provider = new MetaProvider({ jwtToken: 'token', numberId: '300112233445566', verifyToken: 'verify', port: 0 });
provider.listenOnEvents(await provider.initVendor());
provider.start({});
const url = `http://127.0.0.1:${provider.server.server.address().port}/webhook`;
let heard;
provider.on('message', ({ body }) => heard.push(body));
provider.on('notice', ({ instructions }) => heard.push(...instructions));

async function post(...items) {
  const metadata = { display_phone_number: '15550104477', phone_number_id: '300112233445566' };
  const values = items.map((item) => ({ messaging_product: 'whatsapp', metadata, ...item }));
  const changes = values.map((value) => ({ field: 'messages', value }));
  const body = JSON.stringify({ object: 'whatsapp_business_account', entry: [{ id: '880011223344556', changes }] });
  heard = [];
  const { status } = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  await setTimeout(1000); // the bot's queue
  console.log(items.map(({ messages, statuses }) => (messages ? 'a text' : statuses[0].status)), '->', status, heard);
  return [status, ...heard];
}

const contacts = [{ profile: { name: 'Ines' }, wa_id: '12025550143', user_id: 'US.2468013579246801' }];
const from = { from: '12025550143', from_user_id: 'US.2468013579246801', id: 'wamid.A', timestamp: '1790000000' };
const text = { contacts, messages: [{ ...from, type: 'text', text: { body: 'Are you open?' } }] };
const ours = { id: 'wamid.B', timestamp: '1790000000', recipient_id: '12025550178' };
const error = { code: 131026, title: 'Message undeliverable', error_data: { details: 'Message Undeliverable.' } };
const failed = { statuses: [{ ...ours, status: 'failed', errors: [error] }] };
const read = { statuses: [{ ...ours, status: 'read' }] };

const found = [await post(text), await post(text, read), await post(failed), await post(text, failed)];
const refused = [400, 'Number(12025550178): Message Undeliverable.'];
const expected = [[200, 'Are you open?'], [200, 'Are you open?'], refused, refused];
process.exit(JSON.stringify(found) === JSON.stringify(expected) ? 0 : 1);
JS
node ask.mjs
