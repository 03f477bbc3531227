// Meta's own Node SDK, `whatsapp`, through the Graph door; says on its output what it was answered.
// It knows a host alone, by TLS on port 443, and uploads nothing: the picture comes by a link.
const { CUSTOMER, WAMID, REFUSED, CLOSED, PICTURE_LINK, DOOR_HOST, KEY, PHONE_NUMBER_ID } = process.env;
process.env.WA_BASE_URL = DOOR_HOST; // all that is changed
process.env.CLOUD_API_ACCESS_TOKEN = KEY;
process.env.CLOUD_API_VERSION = 'v26.0';
Object.assign(process.env, { M4D_APP_ID: '1', M4D_APP_SECRET: 's', WA_BUSINESS_ACCOUNT_ID: '2' });
Object.assign(process.env, { WEBHOOK_ENDPOINT: 'hook', WEBHOOK_VERIFICATION_TOKEN: 'v' });
const WhatsApp = require('whatsapp');

const client = new WhatsApp(Number(PHONE_NUMBER_ID));
const answer = async (call) => (await call).responseBodyToJSON();
const sent = async (call) => (await answer(call)).messages[0].id;
const refusal = async (number) => {
  const { error } = await answer(client.messages.text({ body: 'Hello?' }, number));
  return { name: error.type, code: error.code };
};
const texts = [{ type: 'text', text: 'Zoë' }, { type: 'text', text: '17' }];
const template = {
  name: 'order_ready',
  language: { policy: 'deterministic', code: 'en_US' },
  components: [{ type: 'body', parameters: texts }],
};
const buttons = {
  type: 'button',
  body: { text: 'Shall we send it?' },
  action: {
    buttons: [
      { type: 'reply', reply: { id: 'yes', title: 'Yes' } },
      { type: 'reply', reply: { id: 'no', title: 'No' } },
    ],
  },
};

(async () => {
  const said = {
    text: await sent(client.messages.text({ body: 'Olá 🎉' }, Number(CUSTOMER))),
    template: await sent(client.messages.template(template, Number(CUSTOMER))),
    image: await sent(client.messages.image({ link: PICTURE_LINK }, Number(CUSTOMER))),
    buttons: await sent(client.messages.interactive(buttons, Number(CUSTOMER))),
    read: (await answer(client.messages.status({ status: 'read', message_id: WAMID }))).success,
    refused: await refusal(Number(REFUSED)),
    closed: await refusal(Number(CLOSED)),
  };
  console.log(JSON.stringify(said));
  process.exit();
})();
