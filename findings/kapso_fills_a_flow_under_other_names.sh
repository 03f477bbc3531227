#!/usr/bin/env bash
# @kapso/whatsapp-cloud-api 0.3.0 (npm): a WhatsApp Flow that it made is opened by its own message with other names.
#
# flows.create (deploy, updateAsset) takes a Flow with camelCase keys only, and refuses `customer_name` as the name of a
# screen's datum: "should use camelCase key". It hands `customerName` to Meta as it is: that is what the screen then
# reads, as ${data.customerName}. But sendInteractiveFlow writes every key of a message in snake case, however deep,
# also those that are not Meta's: what was given as `customerName` goes out as `customer_name`, `orderID` as `order_id`;
# so do template buttons' `flow_action_data`. Nothing fails at either call, and the names never meet. Names without a
# capital letter do (`customername`); respondToFlow leaves names alone.
#
# Prints both bodies. Exits with 1 when the client does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
npm install --silent --no-audit --no-fund --ignore-scripts @kapso/whatsapp-cloud-api@0.3.0
cat > ask.mjs << 'JS'
import { WhatsAppClient } from '@kapso/whatsapp-cloud-api';

let sent;
async function fetch(_, { body }) {
  sent = JSON.parse(body);
  return Response.json({ id: '771', success: true, messages: [{ id: 'wamid.A' }] });
}
const client = new WhatsAppClient({ accessToken: 'token', fetch });

function flow(data) {
  const declared = Object.fromEntries(Object.keys(data).map((name) => [name, { type: 'string', __example__: 'x' }]));
  const lines = Object.keys(data).map((name) => ({ type: 'TextBody', text: `\${data.${name}}` }));
  const end = { type: 'Footer', label: 'Fine', onClickAction: { name: 'complete', payload: {} } };
  const layout = { type: 'SingleColumnLayout', children: [...lines, end] };
  return { version: '7.2', screens: [{ id: 'WELCOME', terminal: true, data: declared, layout }] };
}

async function names(data) {
  await client.flows.create({ wabaId: '880011223344556', name: 'order', flowJson: flow(data) });
  const declared = Object.keys(JSON.parse(sent.flow_json).screens[0].data).join();
  console.log('the Flow:', sent.flow_json);
  const flowActionPayload = { screen: 'WELCOME', data };
  const parameters = { flowId: '771', flowCta: 'Open', flowAction: 'navigate', flowActionPayload };
  await client.messages.sendInteractiveFlow({ phoneNumberId: '3001', to: '+12025550143', bodyText: 'Hi', parameters });
  console.log('the message:', JSON.stringify(sent.interactive.action.parameters.flow_action_payload));
  return `${declared} / ${Object.keys(sent.interactive.action.parameters.flow_action_payload.data)}`;
}

const found = [await names({ customerName: 'Ines', orderID: '7' }), await names({ customername: 'Ines' })];
try {
  await names({ customer_name: 'Ines' });
} catch ({ message }) {
  found.push(message.slice(0, 56));
}
console.log(found);
const expected = ['customerName,orderID / customer_name,order_id', 'customername / customername'];
expected.push('Flow JSON authoring should use camelCase key "customerNa');
process.exit(JSON.stringify(found) === JSON.stringify(expected) ? 0 : 1);
JS
node ask.mjs
