"""What is loaded before the forks is left alone by Python's collector."""

import os
import subprocess
import sys

from tests.stack import ROOT

SETTLED = """
import gc, wsgi
from service.runtime.collector import NEW_OBJECTS, settle
settle()
print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0] == NEW_OBJECTS, gc.isenabled())
"""


def test_what_is_loaded_is_left_alone_and_what_is_new_is_looked_at(database):
    command = [sys.executable, '-c', SETTLED]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ['True'] * 3, done.stderr
