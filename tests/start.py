"""The processes of the Procfile on servers of your own: `make start`.

1. The environment: this process's own, and for what is not in it the file .env, if there is one.
2. The release entry, to its end; the runners of Procfiles end all the others with it.
3. Every other entry, each with the PORT that was given. All end together, as with `make run`.
"""

import os
import signal
import sys
from pathlib import Path

from honcho.environ import parse

from tests import run, stack

STOP_SECONDS = 30  # what a SIGTERM may take, and a bit


def main():
    signal.signal(signal.SIGTERM, run.stop)
    signal.signal(signal.SIGINT, run.stop)
    processes = stack.Processes(run.DIRECTORY, written_down(), on_line=run.Output())
    try:
        start(processes)
        run.watch(processes)
    except run.Stopped:
        return 0
    except RuntimeError as error:
        print(f'\n{error}', file=sys.stderr)
        return 1
    finally:
        run.say('\nStopping')
        run.end(processes, (), STOP_SECONDS)


def written_down():
    """What our own environment does not say: the processes have that, with a PATH on which they
    find their programs.
    """
    file = Path('.env')
    found = parse(file.read_text()) if file.exists() else {}
    return {name: value for name, value in found.items() if name not in os.environ}


def start(processes):
    if code := processes.run('release'):
        raise RuntimeError(f'the release entry ended with {code}')
    for name in processes.commands:
        if name != 'release':
            processes.start(name)


if __name__ == '__main__':
    sys.exit(main())
