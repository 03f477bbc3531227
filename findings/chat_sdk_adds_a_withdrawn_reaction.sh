#!/usr/bin/env bash
# @chat-adapter/whatsapp 4.41.1 (the Chat SDK for WhatsApp): a reaction that a customer takes back arrives as a new one.
#
# Meta's page on reactions (of May 2026) says that the webhook of a withdrawn reaction has no `emoji`. The adapter tells
# withdrawn from given by `emoji !== ""`, which is how a reaction of one's own is taken back, not how Meta tells of a
# customer's. So `onReaction` gets `added: true`, with `rawEmoji` undefined and an `emoji` without a name: a count of
# reactions goes up where it should go down. With an `emoji` of "", which nobody sends, it gets `added: false`.
#
# Prints what the handler gets. Exits with 1 when the adapter does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm install --silent --no-audit --no-fund --ignore-scripts \
    chat@4.41.1 @chat-adapter/whatsapp@4.41.1 @chat-adapter/state-memory@4.41.0
cat > ask.mjs << 'JS'
import { createHmac } from 'node:crypto';
import { createWhatsAppAdapter } from '@chat-adapter/whatsapp';
import { createMemoryState } from '@chat-adapter/state-memory';
import { Chat } from 'chat';

const appSecret = '0123456789abcdef0123456789abcdef';
const account = { accessToken: 'token', phoneNumberId: '300112233445566', verifyToken: 'verify', appSecret };
const adapters = { whatsapp: createWhatsAppAdapter(account) };
const bot = new Chat({ userName: 'shop', logger: 'silent', state: createMemoryState(), adapters });
const heard = [];
bot.onReaction(({ added, rawEmoji, emoji }) => heard.push([added, rawEmoji, emoji.name]));

async function post(id, reaction) {
  const contacts = [{ profile: { name: 'Ines' }, wa_id: '12025550143', user_id: 'US.2468013579246801' }];
  const from = { from: '12025550143', from_user_id: 'US.2468013579246801', timestamp: '1790000000' };
  const messages = [{ ...from, id, type: 'reaction', reaction: { message_id: 'wamid.OURS', ...reaction } }];
  const metadata = { display_phone_number: '15550104477', phone_number_id: '300112233445566' };
  const value = { messaging_product: 'whatsapp', metadata, contacts, messages };
  const entry = [{ id: '880011223344556', changes: [{ field: 'messages', value }] }];
  const body = JSON.stringify({ object: 'whatsapp_business_account', entry });
  const signature = createHmac('sha256', appSecret).update(body).digest('hex');
  const headers = { 'x-hub-signature-256': `sha256=${signature}` };
  const work = [];
  const request = new Request('https://bot.example/hook', { method: 'POST', body, headers });
  await bot.webhooks.whatsapp(request, { waitUntil: (promise) => work.push(promise) });
  await Promise.all(work);
  console.log(JSON.stringify(reaction), '-> [added, rawEmoji, emoji.name]', heard.at(-1));
}

await post('wamid.A', { emoji: '👍' });
await post('wamid.B', {}); // withdrawn, as Meta sends it
await post('wamid.C', { emoji: '' });
process.exit(JSON.stringify(heard) === '[[true,"👍","👍"],[true,null,null],[false,"",""]]' ? 0 : 1);
JS
node ask.mjs
