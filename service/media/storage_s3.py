"""S3-compatible storage: s3://bucket/prefix?endpoint_url=…&region=…

boto3 finds the credentials by itself. This is loaded only when MEDIA_URL says s3://, because boto3
is the extra `s3`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from urllib.parse import SplitResult, parse_qs, unquote

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.media.storage_interface import (
    ByteStream,
    Draft,
    Missing,
    Piece,
    Storage,
    StorageError,
    check_key,
)

PART_SIZE = 8 * 1024 * 1024  # bytes; a larger file goes up in parts
MAX_MEMORY = 1024 * 1024  # bytes; a smaller draft needs no disk
TRANSFER = TransferConfig(
    multipart_threshold=PART_SIZE, multipart_chunksize=PART_SIZE, use_threads=False
)
# Nobody has to wait for a deletion: files that have to go have rows, by which it is tried again.
IMPATIENT = Config(connect_timeout=2, read_timeout=5, retries={'total_max_attempts': 1})


class Bucket(Storage):
    """A bucket, or what lies under a prefix of it."""

    def __init__(self, url: SplitResult) -> None:
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        prefix = unquote(url.path).strip('/')
        self.name = url.netloc
        self._prefix = f'{prefix}/' if prefix else ''
        where = {'endpoint_url': query.get('endpoint_url'), 'region_name': query.get('region')}
        session = boto3.session.Session()
        self._client = session.client('s3', **where, config=_config(query))
        self._impatient = session.client('s3', **where, config=_config(query).merge(IMPATIENT))

    @contextmanager
    def create(self, key: str) -> Iterator[Draft]:
        target = self._object(key)
        with tempfile.SpooledTemporaryFile(MAX_MEMORY) as file:
            yield Draft(file, lambda soon: self._keep(file, target), _storage_errors)

    def _keep(self, file: IO[bytes], target: str) -> None:
        file.seek(0)
        self._client.upload_fileobj(file, self.name, target, Config=TRANSFER)

    def open(self, key: str, start: int = 0, length: int | None = None) -> Piece:
        until = '' if length is None else start + length - 1
        # An empty object has no range.
        stretch = {'Range': f'bytes={start}-{until}'} if start or length else {}
        with _storage_errors():
            answer = self._client.get_object(Bucket=self.name, Key=self._object(key), **stretch)
        return Piece(_Body(answer['Body']), answer['ContentLength'])

    def size(self, key: str) -> int:
        with _storage_errors():
            answer = self._client.head_object(Bucket=self.name, Key=self._object(key))
        return int(answer['ContentLength'])

    def delete(self, key: str) -> None:
        with _storage_errors():
            self._impatient.delete_object(Bucket=self.name, Key=self._object(key))

    def fsync(self, keys: list[str]) -> None:
        """Nothing to do: S3 answers when an object is safe."""

    def _object(self, key: str) -> str:
        return self._prefix + check_key(key)


class _Body:
    """boto3's body with our errors: the connection may break at any piece."""

    def __init__(self, body: ByteStream) -> None:
        self._body = body

    def read(self, size: int = -1, /) -> bytes:
        with _storage_errors():
            return self._body.read(size)

    def close(self) -> None:
        self._body.close()


def _config(query: dict[str, str]) -> Config:
    """Settings that storage of other makers understands: buckets as paths, and old checksums."""
    return Config(
        s3={'addressing_style': 'path' if 'endpoint_url' in query else 'auto'},
        request_checksum_calculation='when_required',
        response_checksum_validation='when_required',
        retries={'mode': 'standard', 'max_attempts': 3},
        connect_timeout=5,
        read_timeout=20,
        max_pool_connections=32,
    )


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Turn what S3 says into StorageError, with its code alone: its texts name keys and hosts."""
    try:
        yield
    except ClientError as error:
        code = error.response.get('Error', {}).get('Code', '')
        if code in ('404', 'NoSuchKey'):
            raise Missing(Missing.__doc__) from error
        raise StorageError(f'{StorageError.__doc__} ({code})') from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise StorageError(f'{StorageError.__doc__} ({type(error).__name__})') from error
