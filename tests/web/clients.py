"""Requests byte by byte, for clients that send them slowly or in part, and what they get."""

import contextlib
import json
import socket
import time

import requests

from service.web.auth import sign
from tests.people import APP_SECRET, CHATBOT, envelope, text_message

KEY = 'Authorization: Bearer test-key'
SEND = {'chatbot_id': CHATBOT, 'to': '+12025550143', 'type': 'text', 'text': {'body': 'Hello'}}


def head(line, *headers, length=None, key=KEY):
    length = [] if length is None else [f'Content-Length: {length}']
    return '\r\n'.join(
        [f'{line} HTTP/1.1', 'Host: gateway', key, *length, *headers, '', '']
    ).encode()


def webhook(text='Hello'):
    body = json.dumps(envelope([text_message(text, f'wamid.{time.time_ns()}')])).encode()
    line = 'POST /whatsapp-cloud/webhook'
    return head(line, f'X-Hub-Signature-256: {sign(body, APP_SECRET)}', length=len(body)) + body


def order(**more):
    body = json.dumps(SEND | more).encode()
    return (
        head('POST /whatsapp-cloud/send', 'Content-Type: application/json', length=len(body)) + body
    )


def status(connection):
    """The status code of the next answer; 0 when the connection is closed instead."""
    data = b''
    with contextlib.suppress(ConnectionResetError):
        while b'\r\n\r\n' not in data and (more := connection.recv(1)):
            data += more
    found = data.split()
    length = data.lower().partition(b'content-length: ')[2].split(b'\r\n')[0]
    connection.recv(int(length or 0), socket.MSG_WAITALL)
    return int(found[1]) if found else 0


def serves(processes):
    """Whether a worker of these very processes answers."""
    with contextlib.suppress(requests.RequestException):
        is_ok = requests.get(f'http://127.0.0.1:{processes.port}/healthz', timeout=10).ok
        return is_ok and 'Booting worker' in processes.logs('web')
