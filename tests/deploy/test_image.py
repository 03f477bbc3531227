"""What the image holds is all that the gateway needs: its files alone, run by the Procfile."""

import shutil

import pytest

from tests.deploy.test_files import copied
from tests.gateway import Gateway
from tests.stack import ROOT, Processes, wait_until


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A folder with what deploy/Dockerfile copies, which nobody may write into."""
    folder = tmp_path_factory.mktemp('image') / 'app'
    for name in copied():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, target)
    return folder


def test_the_files_of_the_image_answer_a_customer(files, tmp_path):
    gateway = Gateway(tmp_path)
    env = gateway.processes.env | {'PYTHONDONTWRITEBYTECODE': '1'}
    gateway.processes = Processes(tmp_path / 'logs', env, root=files)
    before = sorted(files.rglob('*'))
    with gateway:
        gateway.backend.account()
        gateway.stand_in.customer_writes('Is it open today?')
        wait_until(
            lambda: [m['status'] for m in gateway.backend.messages()] == ['read', 'received']
        )
        for page in ('/docs', '/docs/errors', '/openapi.json', '/dashboard/'):
            assert gateway.backend.get(page).status_code == 200, page
    assert sorted(files.rglob('*')) == before
