"""Reads the body of an HTTP answer, decoded, up to a limit of its size."""

import zlib

import urllib3
from urllib3.exceptions import HTTPError

PLAIN = ('', 'identity')
# zlib's wbits; `deflate` is sent with a head or without one
WINDOWS = {'gzip': (31,), 'x-gzip': (31,), 'deflate': (15, -15)}


class Unreadable(HTTPError):
    """The body cannot be read; the text says why, without any of the body."""


def read(answer: urllib3.BaseHTTPResponse, most: int) -> bytes:
    """Read the body of an answer that was asked for with preload_content=False.

    Its connection is free afterwards. Raises Unreadable, and what urllib3 raises while it reads.
    """
    try:
        encoding = answer.headers.get('Content-Encoding', '').strip().lower()
        return _decoded(_received(answer, most), encoding, most)
    finally:
        answer.close()  # one that was read to its end is in the pool by now


def _received(answer: urllib3.BaseHTTPResponse, most: int) -> bytes:
    received = answer.read(most + 1, decode_content=False)  # all of it, if it is not more
    if len(received) > most:
        raise _too_large(most)
    if answer.length_remaining:
        answer.read(1)  # raises: it was cut off
    return received


def _decoded(received: bytes, encoding: str, most: int) -> bytes:
    """urllib3 would decode a br or zstd too, without a limit where their libraries know none."""
    if encoding in PLAIN or not received:
        return received
    for window in WINDOWS.get(encoding, ()):
        try:
            decoder = zlib.decompressobj(window)
            decoded = decoder.decompress(received, most + 1)
        except zlib.error:
            continue
        if len(decoded) > most:
            raise _too_large(most)
        if decoder.eof:
            return decoded
    raise Unreadable('in a Content-Encoding that cannot be read')


def _too_large(most: int) -> Unreadable:
    return Unreadable(f'more than {most:,} bytes')
