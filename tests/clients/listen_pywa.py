"""pywa's own webhook server, `sync` or `async`, as it would stand behind Meta; says on its output
what it heard.
"""

import json
import os
import sys

IS_ASYNC = sys.argv[1] == 'async'
if IS_ASYNC:
    from pywa_async import WhatsApp
else:
    from pywa import WhatsApp

client = WhatsApp(
    os.environ['PHONE_NUMBER_ID'],
    'a token that nothing here needs',
    verify_token='verify-me',
    app_secret=os.environ['APP_SECRET'],  # of the relay endpoint: all that is changed
    webhook_endpoint='/hook',
)


def say(**heard):
    print(json.dumps(heard), flush=True)


def hear_message(_, message):
    say(id=message.id, text=message.text, name=message.from_user.name)


def hear_status(_, status):
    code = status.error.code if status.error else None
    say(id=status.id, status=str(status.status.value), tracker=status.tracker, code=code)


def as_wanted(handler):
    """The handler, for pywa_async as a coroutine function."""
    if not IS_ASYNC:
        return handler

    async def asynchronous(client, update):
        handler(client, update)

    return asynchronous


client.on_message(as_wanted(hear_message))
client.on_message_status(as_wanted(hear_status))
client.run(port=int(os.environ['PORT']), log_level='error')
