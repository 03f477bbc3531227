"""heyoo through the Graph door; says on its output what it was answered."""

import json
import os
import tempfile
from pathlib import Path

from heyoo import WhatsApp

CUSTOMER, NUMBER = os.environ['CUSTOMER'], os.environ['PHONE_NUMBER_ID']

client = WhatsApp(os.environ['KEY'], NUMBER)
client.base_url = f'{os.environ["DOOR"]}/v14.0'  # all that is changed: these three
client.v15_base_url = f'{os.environ["DOOR"]}/v15.0'
client.url = f'{client.base_url}/{NUMBER}/messages'


def sent(answer):
    return answer['messages'][0]['id']


def refusal(number):
    """The error of the answer to a text to a number."""
    error = client.send_message('Hello?', number)['error']
    return {'name': error['type'], 'code': error['code']}


def downloaded(media_id):
    url = client.query_media_url(media_id)
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_media(url, 'image/jpeg', f'{folder}/photo')).read_bytes()


picture = client.upload_media(os.environ['PICTURE'])['id']
texts = [{'type': 'text', 'text': 'Zoë'}, {'type': 'text', 'text': '17'}]
components = [{'type': 'body', 'parameters': texts}]
buttons = {
    'type': 'button',
    'body': {'text': 'Shall we send it?'},
    'action': {
        'buttons': [
            {'type': 'reply', 'reply': {'id': 'yes', 'title': 'Yes'}},
            {'type': 'reply', 'reply': {'id': 'no', 'title': 'No'}},
        ]
    },
}
said = {
    'text': sent(client.send_message('Olá 🎉', CUSTOMER)),
    'template': sent(client.send_template('order_ready', CUSTOMER, components)),
    'media': picture,
    'image': sent(client.send_image(picture, CUSTOMER, link=False)),
    'buttons': sent(client.send_reply_button(buttons, CUSTOMER)),
    'read': client.mark_as_read(os.environ['WAMID'])['success'],
    'bytes': len(downloaded(picture)),
    'deleted': client.delete_media(picture)['success'],
    'refused': refusal(os.environ['REFUSED']),
    'closed': refusal(os.environ['CLOSED']),
}
print(json.dumps(said))
