"""The application that gunicorn serves, as `wsgi:app`."""

from service.web.app import create_app

app = create_app()
