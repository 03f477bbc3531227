"""The core of the gateway: no Flask, no RQ worker, no knowledge of who calls it."""
