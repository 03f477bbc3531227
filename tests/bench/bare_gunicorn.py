"""gunicorn's settings for the bare reference: our worker class, workers, threads and keep-alive,
else its defaults.
"""

from service.web import server

bind = '127.0.0.1:' + server.bind[0].rpartition(':')[2]
worker_class = server.worker_class if server.worker_class in ('gthread', 'sync') else 'gthread'
workers, threads, keepalive = server.workers, server.threads, server.keepalive
control_socket_disable = True
