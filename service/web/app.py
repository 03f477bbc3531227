"""The WSGI application."""

from flask import Flask

from service import config, db, logs
from service.web import (
    accounts,
    answers,
    audit,
    batches,
    bodies,
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


def create_app():
    if not config.is_command():
        config.check('web')
        logs.configure()
        db.configure()
    app = Flask('service.web', static_folder=None)
    app.request_class = bodies.WholeRequest
    app.config['MAX_CONTENT_LENGTH'] = bodies.BODY_LIMIT
    answers.init_app(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(webhook.blueprint)
    for room in (messages, batches, accounts, conversations, contacts, audit, templates, uploads, files, documents):
        app.register_blueprint(room.blueprint, url_prefix='/whatsapp-cloud')
    cli.init_app(app)
    return app
