"""The WSGI application."""

from flask import Flask

from service import config, db, logs
from service.web import accounts, answers, audit, cli, conversations, health, messages, webhook

BODY_LIMIT = 4 * 1024 * 1024  # Meta's batches have up to 3 MB (section 1.3)


def create_app():
    config.check('web')
    logs.configure()
    db.configure()
    app = Flask('service.web', static_folder=None)
    app.config['MAX_CONTENT_LENGTH'] = BODY_LIMIT
    answers.init_app(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(webhook.blueprint)
    for room in (messages, accounts, conversations, audit):
        app.register_blueprint(room.blueprint, url_prefix='/whatsapp-cloud')
    cli.init_app(app)
    return app
