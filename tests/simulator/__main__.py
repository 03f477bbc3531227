"""`python -m tests.simulator`: see README.md."""

import argparse
import asyncio
import gc
import os
import signal
import sys

from aiohttp import web

from .app import create_app
from .settings import arguments
from .simulator import Simulator


def main() -> None:
    # A benchmark keeps many small objects alive; the defaults would walk through all of them again
    # and again.
    gc.set_threshold(50_000, 50, 100)
    asyncio.run(serve(arguments()))


async def serve(flags: argparse.Namespace) -> None:
    stop_on_signals()
    runner = web.AppRunner(create_app(Simulator(flags)), access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, flags.host, flags.port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        sys.exit(f'cannot listen on {flags.host}:{flags.port}: {error.strerror}')
    port = runner.addresses[0][1]
    print(f'The phone is at http://{flags.host}:{port}/phone', flush=True)
    await asyncio.Event().wait()


def stop_on_signals() -> None:
    """At once and with 0: nothing here outlives the process, so there is nothing to wind up."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, os._exit, 0)


if __name__ == '__main__':
    main()
