"""The entry `web`: gunicorn, once the environment is checked.

gunicorn reads WEB_CONCURRENCY by itself as it is imported, before any of its settings, and ends
with a traceback where that is no whole number. So our check comes first, and gunicorn never sees
the variable: server.py tells it how many workers there are.
"""

from importlib import import_module

from service.runtime import config


def main() -> None:
    """Run gunicorn with this process's own arguments."""
    config.check('web')
    with config.hidden('WEB_CONCURRENCY'):  # the next master, at SIGUSR2, has it again
        gunicorn = import_module('gunicorn.app.wsgiapp')
    gunicorn.run(prog='gunicorn')


if __name__ == '__main__':
    main()
