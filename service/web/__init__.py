"""The HTTP API. Only this package knows Flask and gunicorn."""
