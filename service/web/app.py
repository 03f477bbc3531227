"""The WSGI application."""

from flask import Flask

from service.runtime import config, db, logs
from service.web import (
    accounts,
    auth,
    batches,
    bodies,
    cli,
    contacts,
    conversations,
    diagnostics,
    documents,
    endpoints,
    events,
    graph_door,
    graph_files,
    graph_hand_on,
    graph_messages,
    health,
    keys,
    media_download,
    media_upload,
    messages,
    responses,
    scrape,
    stats,
    templates,
    usage_report,
    webhook,
    webhook_events,
)
from service.web.dashboard import site

API = (
    messages,
    batches,
    accounts,
    diagnostics,
    usage_report,
    stats,
    conversations,
    contacts,
    endpoints,
    events,
    webhook_events,
    keys,
    templates,
    media_upload,
    media_download,
    documents,
    scrape,
)
GRAPH_DOOR = (graph_messages, graph_files, graph_hand_on)


def create_app() -> Flask:
    if not cli.is_running():
        config.check('web')
        logs.configure()
        db.configure()
    app = Flask('service.web', static_folder=None)
    app.request_class = bodies.WholeRequest
    app.config['MAX_CONTENT_LENGTH'] = bodies.BODY_LIMIT
    scrape.init_app(app)
    responses.init_app(app)
    auth.init_app(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(webhook.blueprint)
    for module in API:
        app.register_blueprint(module.blueprint, url_prefix='/whatsapp-cloud')
    site.init_app(app)
    app.wsgi_app = graph_door.OneSlash(app.wsgi_app)  # type: ignore[method-assign]
    app.url_map.converters['graph_version'] = graph_door.GraphVersion
    for module in GRAPH_DOOR:
        below = f'{module.blueprint.name}_below'
        app.register_blueprint(module.blueprint)
        app.register_blueprint(module.blueprint, url_prefix='/graph', name=below)
    cli.init_app(app)
    return app
