"""The HTTP API. The only room that knows Flask and gunicorn."""
