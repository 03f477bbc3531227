"""How many connections to PostgreSQL each process may open: what a deployment needs of a server."""

WEB = 10  # of each process of gunicorn, at most
WORKERS = {
    'incoming': 6,
    'send': 6,
    'errands': 4,
    'events': 4,
    'clock': 1,
}  # of each kind that `python -m workers` runs, at most
