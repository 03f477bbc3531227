"""Clients that are quiet, or slow in every way: `python -m tests.bench.crowd PORT QUIET SLOW`,
until it is ended.

Who is closed comes again.
"""

import asyncio
import itertools
import os
import socket
import sys

from .load import signed

EVERY = 0.5  # seconds between two bytes of a slow one
KEY = os.environ['API_KEYS'].split(',')[0].encode()
SECRET = os.environ['WHATSAPP_APP_SECRET'].split(',')[0].encode()


def post(path, kind, length, body=b''):
    return (
        b'POST /whatsapp-cloud%b HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer '
        b'%b\r\nContent-Type: %b\r\n'
        b'Content-Length: %d\r\n\r\n%b' % (path, KEY, kind, length, body)
    )


def ways(port):
    """(what is sent at once, what is dripped, whether answers are read) of each way to be slow."""
    webhook = signed(port, b'/whatsapp-cloud/webhook', SECRET, b'{"entry": []}' + b' ' * 4000)
    order = post(b'/send', b'application/json', 5000, b'{' + b' ' * 4999)
    csv = post(b'/send/bulk?chatbot_id=bench&text=Hi', b'text/csv', 8_000_000)
    file = post(b'/media', b'multipart/form-data; boundary=x', 20_000_000)
    many = (
        b'GET /whatsapp-cloud/messages HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer '
        b'%b\r\n\r\n' % KEY
    )
    return [
        (b'', webhook, True),
        (webhook[:600], webhook[600:], True),
        (order[:300], order[300:], True),
        (csv, b'to\n' + b'+12025550143\n' * 1000, True),
        (file, b'--x\r\n' * 1000, True),
        (many * 5, b'', False),
    ]


async def client(port, now, later, reads):
    sock = socket.socket()
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
    )  # who does not read has no room for an answer either
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ('127.0.0.1', port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    try:
        writer.write(now)
        for byte in later if later else itertools.repeat(None):
            if byte is not None:
                writer.write(bytes([byte]))
            if reads and reader.at_eof() or writer.is_closing():
                return
            await asyncio.sleep(EVERY)
    except OSError:
        return
    finally:
        writer.close()


async def for_ever(port, *way):
    while True:
        try:
            await client(port, *way)
        except OSError:
            await asyncio.sleep(EVERY)


async def main(port, quiet, slow):
    ways_to_be_slow = itertools.cycle(ways(port))
    nothing = (b'', b'', True)
    await asyncio.gather(
        *(for_ever(port, *nothing) for _ in range(quiet)),
        *(for_ever(port, *next(ways_to_be_slow)) for _ in range(slow)),
    )


if __name__ == '__main__':
    asyncio.run(main(*map(int, sys.argv[1:])))
