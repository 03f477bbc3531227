// whatsapp-api-js through the Graph door; says on its output what it was answered.
import { openAsBlob } from 'node:fs';
import { WhatsAppAPI } from 'whatsapp-api-js';
import * as messages from 'whatsapp-api-js/messages';

const { CUSTOMER, WAMID, REFUSED, CLOSED, PICTURE, DOOR, KEY, PHONE_NUMBER_ID } = process.env;
const toDoor = (url, options) => fetch(`${url}`.replace('https://graph.facebook.com', DOOR), options);
// All that is changed: `ponyfill` and the token.
const client = new WhatsAppAPI({ token: KEY, appSecret: 's', v: 'v26.0', ponyfill: { fetch: toDoor } });

const to = (phone) => ({ phone });
const send = (message, number = CUSTOMER) =>
  client.sendMessage(PHONE_NUMBER_ID, to(number), message, undefined, 'order-17');
const sent = async (message) => (await send(message)).messages[0].id;
const refusal = async (number) => {
  const { error } = await send(new messages.Text('Hello?'), number);
  return { name: error.type, code: error.code };
};
const form = new FormData();
form.set('file', await openAsBlob(PICTURE, { type: 'image/jpeg' }), 'photo.jpg');
form.set('type', 'image/jpeg');
const picture = (await client.uploadMedia(PHONE_NUMBER_ID, form)).id;
const texts = ['Zoë', '17'].map((text) => new messages.BodyParameter(text));
const template = new messages.Template('order_ready', 'en_US', new messages.BodyComponent(...texts));
const [yes, no] = ['Yes', 'No'].map((title) => new messages.Button(title.toLowerCase(), title));
const buttons = new messages.Interactive(
  new messages.ActionButtons(yes, no),
  new messages.Body('Shall we send it?'),
);
const name = new messages.Name('Zoë', 'Zoë', undefined, 'Zoë');
const phone = new messages.Phone('+12025550143', 'CELL', '12025550143');
const file = await client.fetchMedia((await client.retrieveMedia(picture, PHONE_NUMBER_ID)).url);
console.log(
  JSON.stringify({
    text: await sent(new messages.Text('Olá 🎉')),
    template: await sent(template),
    media: picture,
    image: await sent(new messages.Image(picture, true, 'The red one')),
    buttons: await sent(buttons),
    contacts: await sent(new messages.Contacts([name, phone])),
    read: (await client.markAsRead(PHONE_NUMBER_ID, WAMID)).success,
    bytes: (await file.arrayBuffer()).byteLength,
    deleted: (await client.deleteMedia(picture, PHONE_NUMBER_ID)).success,
    refused: await refusal(REFUSED),
    closed: await refusal(CLOSED),
  }),
);
