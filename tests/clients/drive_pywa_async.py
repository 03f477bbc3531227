"""pywa's asynchronous client through the Graph door; says on its output what it was answered."""

import asyncio
import json
import os
from pathlib import Path

import httpx
from pywa_async import WhatsApp
from pywa_async.errors import WhatsAppError
from pywa_async.types import Button
from pywa_async.types.templates import BodyText, TemplateLanguage

CUSTOMER = os.environ['CUSTOMER']


async def main():
    session = httpx.AsyncClient(timeout=30)
    client = WhatsApp(os.environ['PHONE_NUMBER_ID'], os.environ['KEY'], session=session)
    session.base_url = f'{os.environ["DOOR"]}/v26.0'  # all that is changed
    picture = await client.upload_media(Path(os.environ['PICTURE']))
    params = [BodyText.params('Zoë', '17')]
    yes_or_no = [Button('Yes', 'yes'), Button('No', 'no')]
    text = await client.send_message(CUSTOMER, 'Olá 🎉', tracker='order-17')
    template, image, buttons, read = await asyncio.gather(
        client.send_template(CUSTOMER, 'order_ready', TemplateLanguage.ENGLISH_US, params),
        client.send_image(CUSTOMER, picture.id, caption='The red one'),
        client.send_message(CUSTOMER, 'Shall we send it?', buttons=yes_or_no),
        client.mark_message_as_read(os.environ['WAMID']),
    )
    url = (await client.get_media_url(picture.id)).url
    return {
        'text': text.id,
        'template': template.id,
        'media': picture.id,
        'image': image.id,
        'buttons': buttons.id,
        'read': read.success,
        'bytes': len(await client.get_media_bytes(url)),
        'deleted': (await client.delete_media(picture.id)).success,
        'refused': await refusal(client, os.environ['REFUSED']),
        'closed': await refusal(client, os.environ['CLOSED']),
    }


async def refusal(client, number):
    """The error that a text to a number raises."""
    try:
        await client.send_message(number, 'Hello?')
    except WhatsAppError as error:
        return {'name': type(error).__name__, 'code': error.code}


print(json.dumps(asyncio.run(main())))
