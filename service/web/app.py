"""The WSGI application."""

from flask import Flask, Request
from werkzeug.exceptions import RequestEntityTooLarge

from service import config, db, logs
from service.web import (
    accounts,
    answers,
    audit,
    batches,
    cli,
    contacts,
    conversations,
    documents,
    files,
    health,
    messages,
    templates,
    uploads,
    webhook,
)

BODY_LIMIT = 4 * 1024 * 1024  # Meta's batches have up to 3 MB (section 1.3)


class LimitedRequest(Request):
    """A chunked body that is too long is refused like any other; werkzeug cuts it off and says nothing."""

    def get_data(self, *arguments, **options):
        body = super().get_data(*arguments, **options)
        if self.content_length is None and len(body) >= BODY_LIMIT:
            raise RequestEntityTooLarge
        return body


def create_app():
    if not config.is_command():
        config.check('web')
        logs.configure()
        db.configure()
    app = Flask('service.web', static_folder=None)
    app.request_class = LimitedRequest
    app.config['MAX_CONTENT_LENGTH'] = BODY_LIMIT
    answers.init_app(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(webhook.blueprint)
    for room in (messages, batches, accounts, conversations, contacts, audit, templates, uploads, files, documents):
        app.register_blueprint(room.blueprint, url_prefix='/whatsapp-cloud')
    cli.init_app(app)
    return app
