"""All of the dashboard."""

from flask import Flask

from service.web.dashboard import (
    account_pages,
    batch_pages,
    chat_pages,
    chat_template_pages,
    endpoint_pages,
    file_pages,
    inbox_pages,
    login,
    missing_page,
    overview,
    static_files,
    template_pages,
    webhook_log,
    wording,
)
from service.web.dashboard.dashboard_session import PATH

BLUEPRINTS = (
    login.blueprint,
    login.leaving,
    static_files.blueprint,
    overview.blueprint,
    inbox_pages.blueprint,
    chat_pages.blueprint,
    chat_template_pages.blueprint,
    file_pages.blueprint,
    batch_pages.blueprint,
    template_pages.blueprint,
    webhook_log.blueprint,
    endpoint_pages.blueprint,
    account_pages.blueprint,
    missing_page.blueprint,
)


def init_app(app: Flask) -> None:
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters |= wording.FILTERS
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint, url_prefix=PATH)
