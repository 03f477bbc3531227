"""`--profile`: py-spy looks at our process during a run of ours.

Such a run's own figures do not count.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

SECONDS, RATE = 5, 500


@contextlib.contextmanager
def profiled(wanted, tree, name):
    """Prints where the CPU of a process tree goes while the block runs."""
    if not wanted:
        yield
        return
    tool = shutil.which('py-spy')
    if not tool:
        raise SystemExit('--profile needs py-spy on the PATH: pip install py-spy')
    file = Path(tempfile.mkdtemp(prefix='gateway-profile-')) / f'{name}.raw'
    command = [
        tool,
        'record',
        '-p',
        str(tree.roots[0].pid),
        '--subprocesses',
        '--gil',
        '--threads',
        '-d',
        str(SECONDS),
        '-r',
        str(RATE),
        '-f',
        'raw',
        '-o',
        str(file),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.wait(30)
    show(name, file)


def show(name, file):
    own, inclusive, total = Counter(), Counter(), 0
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(' ')
        frames = [
            frame.rpartition(':')[0] + ')'
            for frame in stack.split(';')
            if ':' in frame and '.py' in frame
        ]
        own[frames[-1] if frames else 'outside Python'] += int(count)
        inclusive.update(dict.fromkeys(frames, int(count)))
        total += int(count)
    print(
        f'\nprofile of {name}: {total} samples that hold the GIL, of {SECONDS * RATE} looks at '
        f'each process; in {file}'
    )
    for label, counter in (('with what it calls', inclusive), ('alone', own)):
        print(f'  {label}')
        for frame, count in counter.most_common(45):
            print(f'  {count * 100 / max(total, 1):5.1f} %  {frame}')
