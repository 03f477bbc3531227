"""The storage that MEDIA_URL names: files are written whole or not at all, found by our keys."""

import importlib
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from service.media.storage_directory import Directory
from service.media.storage_interface import Storage
from service.runtime.config import settings


def storage() -> Storage:
    """The storage that MEDIA_URL names."""
    return _at(settings.MEDIA_URL)


@lru_cache(maxsize=4)
def _at(url: str) -> Storage:
    parts = urlsplit(url)
    if parts.scheme != 's3':
        return Directory(unquote(parts.path))
    module = importlib.import_module('service.media.storage_s3')  # by name: boto3 is an extra
    bucket: Storage = module.Bucket(parts)
    return bucket
