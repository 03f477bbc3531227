"""pywa, the synchronous client, through the Graph door; says on its output what it was answered."""

import json
import os
from pathlib import Path

import httpx
from pywa import WhatsApp
from pywa.errors import WhatsAppError
from pywa.types import Button
from pywa.types.templates import BodyText, TemplateLanguage

CUSTOMER = os.environ['CUSTOMER']

session = httpx.Client(timeout=30)
client = WhatsApp(os.environ['PHONE_NUMBER_ID'], os.environ['KEY'], session=session)
session.base_url = f'{os.environ["DOOR"]}/v26.0'  # all that is changed


def refusal(number):
    """The error that a text to a number raises."""
    try:
        client.send_message(number, 'Hello?')
    except WhatsAppError as error:
        return {'name': type(error).__name__, 'code': error.code}


picture = client.upload_media(Path(os.environ['PICTURE']))
params = [BodyText.params('Zoë', '17')]
yes_or_no = [Button('Yes', 'yes'), Button('No', 'no')]
said = {
    'text': client.send_message(CUSTOMER, 'Olá 🎉', tracker='order-17').id,
    'template': client.send_template(
        CUSTOMER, 'order_ready', TemplateLanguage.ENGLISH_US, params
    ).id,
    'media': picture.id,
    'image': client.send_image(CUSTOMER, picture.id, caption='The red one').id,
    'buttons': client.send_message(CUSTOMER, 'Shall we send it?', buttons=yes_or_no).id,
    'read': client.mark_message_as_read(os.environ['WAMID']).success,
    'bytes': len(client.get_media_bytes(client.get_media_url(picture.id).url)),
    'deleted': client.delete_media(picture.id).success,
    'refused': refusal(os.environ['REFUSED']),
    'closed': refusal(os.environ['CLOSED']),
}
print(json.dumps(said))
