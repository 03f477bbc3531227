"""A gateway that has lived."""

import pytest

from tests.listeners import Listener
from tests.privacy import life


@pytest.fixture
def media_directory(request, setting, tmp_path):
    """The storage, of this test alone; or a bucket."""
    if 'in_bucket' not in request.fixturenames:
        setting('MEDIA_URL', f'file://{tmp_path}/media')


@pytest.fixture
def listener():
    """Who is told of events, and gets what Meta posted; away in the end."""
    with Listener() as listener:
        yield listener


@pytest.fixture
def lived(media_directory, backend, meta, workers, stand_in, listener):
    """A whole run is over; {customer's word: id of the contact}."""
    with life.Assistant() as assistant:
        yield life.live(backend, meta, workers, stand_in, listener, assistant)
