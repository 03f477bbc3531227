// @kapso/whatsapp-cloud-api through the Graph door; says on its output what it was answered.
import { readFile } from 'node:fs/promises';
import { GraphApiError, WhatsAppClient } from '@kapso/whatsapp-cloud-api';

const { CUSTOMER, WAMID, REFUSED, CLOSED, PICTURE, DOOR, KEY, PHONE_NUMBER_ID } = process.env;
const phoneNumberId = PHONE_NUMBER_ID;
const client = new WhatsAppClient({ accessToken: KEY, baseUrl: DOOR }); // all that is changed

const to = { phoneNumberId, to: `+${CUSTOMER}` };
const sent = async (call) => (await call).messages[0].id;
const refusal = async (number) => {
  try {
    await client.messages.sendText({ phoneNumberId, to: `+${number}`, body: 'Hello?' });
  } catch (error) {
    return { name: error instanceof GraphApiError ? 'GraphApiError' : `${error}`, code: error.code };
  }
};
const uploaded = await client.media.upload({
  phoneNumberId,
  type: 'image/jpeg',
  file: new Blob([await readFile(PICTURE)], { type: 'image/jpeg' }),
  fileName: 'photo.jpg',
});
const media = { mediaId: uploaded.id, phoneNumberId };
const texts = ['Zoë', '17'].map((text) => ({ type: 'text', text }));
const template = {
  name: 'order_ready',
  language: { code: 'en_US' },
  components: [{ type: 'body', parameters: texts }],
};
const buttons = ['Yes', 'No'].map((title) => ({ id: title.toLowerCase(), title }));
console.log(
  JSON.stringify({
    text: await sent(client.messages.sendText({ ...to, body: 'Olá 🎉' })),
    template: await sent(client.messages.sendTemplate({ ...to, template })),
    media: uploaded.id,
    image: await sent(client.messages.sendImage({ ...to, image: { id: uploaded.id, caption: 'The red one' } })),
    buttons: await sent(client.messages.sendInteractiveButtons({ ...to, bodyText: 'Shall we send it?', buttons })),
    read: (await client.messages.markRead({ phoneNumberId, messageId: WAMID })).success,
    bytes: (await client.media.download({ ...media, auth: 'always' })).byteLength,
    deleted: (await client.media.delete(media)).success,
    refused: await refusal(REFUSED),
    closed: await refusal(CLOSED),
  }),
);
