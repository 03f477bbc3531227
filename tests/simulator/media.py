"""Meta's media: upload, look-up, download with the same token, deletion. Kept in memory."""

import asyncio
import hashlib
import random
import secrets
import time
from base64 import b64encode
from dataclasses import dataclass

from aiohttp import web

from .error_codes import graph_error, http_status


@dataclass(frozen=True, slots=True)
class File:
    media_id: str
    content: bytes
    mime_type: str
    filename: str | None = None
    phone_number_id: str | None = None  # that uploaded it; None: a customer sent it

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.content).digest()

    def inbound(self) -> dict:
        """As a webhook has it: here the sha256 is base64."""
        return {
            'id': self.media_id,
            'mime_type': self.mime_type,
            'sha256': b64encode(self.digest).decode(),
        }


class Media:
    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.links: dict[str, tuple[str, float]] = {}
        self.uploads: list[dict] = []  # every upload that came, also those that were refused

    def keep(
        self, content: bytes, mime_type: str, filename: str | None = None, number: str | None = None
    ) -> File:
        media_id = str(random.randrange(10**15, 10**16))
        self.files[media_id] = File(media_id, content, mime_type, filename, number)
        return self.files[media_id]

    def usable(self, media_id: object, number: str | None) -> bool:
        """Whether it is there, and a number (if one is named) may have it: a file belongs to who
        uploaded it.
        """
        file = self.files.get(str(media_id))
        return file is not None and (number is None or file.phone_number_id in (None, number))

    def link(self, media_id: str, lifetime: float) -> str:
        """The path of a short-lived address."""
        key = secrets.token_urlsafe(16)
        self.links[key] = (media_id, time.monotonic() + lifetime)
        return f'/whatsapp_business/attachments/?mid={media_id}&hash={key}'

    def behind(self, key: str) -> File | None:
        media_id, until = self.links.get(key, ('', 0.0))
        return self.files.get(media_id) if time.monotonic() < until else None

    def described(self, media_id: str, base_url: str, lifetime: float) -> dict:
        file = self.files[media_id]
        return {
            'messaging_product': 'whatsapp',
            'url': base_url + self.link(media_id, lifetime),
            'mime_type': file.mime_type,
            'sha256': file.digest.hex(),
            'file_size': len(file.content),
            'id': media_id,
        }


async def uploaded(request: web.Request, rate: float = 0) -> tuple[bytes, str, str | None] | None:
    """The file of a multipart upload, its MIME type and name; None when something is missing.

    `rate`: bytes/s.
    """
    if not request.content_type.startswith('multipart/'):
        return None
    fields = dict(request.query)  # Meta takes a parameter from there as well
    content, mime_type, filename = None, None, None
    async for part in await request.multipart():
        if part.name == 'file' and part.filename:
            content, mime_type, filename = (
                bytearray(),
                part.headers.get('Content-Type'),
                part.filename,
            )
            while piece := await part.read_chunk(64 * 1024):
                content += piece
                await asyncio.sleep(len(piece) / rate if rate else 0)
        else:
            fields[part.name] = await part.text()
    if fields.get('messaging_product') != 'whatsapp' or content is None:
        return None
    return bytes(content), fields.get('type') or mime_type, filename


# By the ending of its name: a file of another type is refused, whatever is said beside it.
ENDINGS = {
    'jpg': 'image/jpeg',
    'jpeg': 'image/jpeg',
    'png': 'image/png',
    'webp': 'image/webp',
    'aac': 'audio/aac',
    'amr': 'audio/amr',
    'mp3': 'audio/mpeg',
    'm4a': 'audio/mp4',
    'ogg': 'audio/ogg',
    'mp4': 'video/mp4',
    '3gp': 'video/3gpp',
    'txt': 'text/plain',
    'pdf': 'application/pdf',
    'doc': 'application/msword',
    'xls': 'application/vnd.ms-excel',
    'ppt': 'application/vnd.ms-powerpoint',
    'docx': 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
    'xlsx': 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
    'pptx': 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
}


def name_problem(filename: str | None, mime_type: str | None) -> str | None:
    """What Meta says of an upload whose name does not end in its type."""
    by_name = ENDINGS.get((filename or '').rpartition('.')[2].lower(), 'application/octet-stream')
    if by_name == (mime_type or '').partition(';')[0].strip().lower():
        return None
    types = ', '.join(dict.fromkeys(ENDINGS.values()))
    return (
        f'Param file must be a file with one of the following types: {types}. Received file '
        f"of type '{by_name}'."
    )


def refusal(code: int, details: str, status: int | None = None) -> web.Response:
    return web.json_response(graph_error(code, details), status=status or http_status(code))
