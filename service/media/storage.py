"""The storage that MEDIA_URL names: files are written whole or not at all, read in pieces, found by
keys of ours.
"""

import importlib
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from service.media.storage_directory import Directory
from service.runtime.config import settings


def storage():
    """The storage that MEDIA_URL names: .create(key), .put(key, file), .open(key, start, length),
    .size, .delete.
    """
    return _at(settings.MEDIA_URL)


@lru_cache(maxsize=4)
def _at(url):
    parts = urlsplit(url)
    if parts.scheme == 's3':
        return importlib.import_module('service.media.storage_s3').Bucket(
            parts
        )  # boto3 is an extra
    return Directory(unquote(parts.path))
