"""PyPI's `standardwebhooks` on deliveries: reads [{secret, headers, body}] and says for each the
body that it verified, or the name of its error.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def verified(one):
    try:
        return Webhook(one['secret']).verify(one['body'], one['headers'])
    except WebhookVerificationError as error:
        return type(error).__name__


print(json.dumps([verified(one) for one in json.load(sys.stdin)]))
