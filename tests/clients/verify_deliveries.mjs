// npm's `standardwebhooks` on deliveries: reads [{secret, headers, body}] and says for each the body that it
// verified, or the name of its error.
import { text } from 'node:stream/consumers';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';

const verified = ({ secret, headers, body }) => {
  try {
    return new Webhook(secret).verify(body, headers);
  } catch (error) {
    if (error instanceof WebhookVerificationError) return 'WebhookVerificationError';
    throw error;
  }
};
console.log(JSON.stringify(JSON.parse(await text(process.stdin)).map(verified)));
