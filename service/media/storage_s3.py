"""S3-compatible storage: s3://bucket/prefix?endpoint_url=…&region=…; credentials as boto3 finds
them by itself.

Loaded when MEDIA_URL says s3:// alone: boto3 is the extra `s3`.
"""

import tempfile
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.media.storage_interface import Draft, Missing, Piece, Storage, StorageError, checked

PART = 8 * 1024 * 1024  # bytes; a larger file goes up in parts
SPOOL = 1024 * 1024  # bytes; a smaller draft needs no disk
TRANSFER = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)


class Bucket(Storage):
    """A bucket, or what lies under a prefix of it."""

    def __init__(self, url):
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        prefix = unquote(url.path).strip('/')
        self.name, self._prefix = url.netloc, f'{prefix}/' if prefix else ''
        self._client = boto3.session.Session().client(
            's3',
            endpoint_url=query.get('endpoint_url'),
            region_name=query.get('region'),
            config=_config(query),
        )

    @contextmanager
    def create(self, key):
        """A context that gives a Draft; S3 shows an object when all of it has arrived."""
        target = self._prefix + checked(key)
        with tempfile.SpooledTemporaryFile(SPOOL) as file:
            yield Draft(file, lambda soon: self._keep(file, target), _errors)

    def _keep(self, file, target):
        file.seek(0)
        self._client.upload_fileobj(file, self.name, target, Config=TRANSFER)

    def open(self, key, start=0, length=None):
        """A Piece of an object, of `length` bytes or to its end. Raises Missing."""
        until = '' if length is None else start + length - 1
        stretch = (
            {'Range': f'bytes={start}-{until}'} if start or length else {}
        )  # an empty one has none
        with _errors():
            answer = self._client.get_object(
                Bucket=self.name, Key=self._prefix + checked(key), **stretch
            )
        return Piece(_Body(answer['Body']), answer['ContentLength'])

    def size(self, key):
        with _errors():
            return self._client.head_object(Bucket=self.name, Key=self._prefix + checked(key))[
                'ContentLength'
            ]

    def delete(self, key):
        with _errors():
            self._client.delete_object(Bucket=self.name, Key=self._prefix + checked(key))


class _Body:
    """boto3's body with our errors: the connection may break at any piece."""

    def __init__(self, body):
        self._body, self.close = body, body.close

    def read(self, size):
        with _errors():
            return self._body.read(size)


def _config(query):
    """Storage that is not Amazon's often knows buckets as paths only, and none of the newer
    checksums.
    """
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
def _errors():
    """What S3 says, by its code alone: its texts name keys and hosts."""
    try:
        yield
    except ClientError as error:
        code = error.response.get('Error', {}).get('Code', '')
        if code in ('404', 'NoSuchKey'):
            raise Missing(Missing.__doc__) from error
        raise StorageError(f'{StorageError.__doc__} ({code})') from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise StorageError(f'{StorageError.__doc__} ({type(error).__name__})') from error
