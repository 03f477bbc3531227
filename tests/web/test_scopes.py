"""Scopes: every view says what a key needs for it."""

from typing import get_args

from service.web.auth import Scope

PUBLIC = {'/healthz', '/readyz', '/whatsapp-cloud/webhook', '/whatsapp-cloud/webhook/<chatbot_id>'}
# Swagger UI, and how the dashboard looks: they say nothing of this gateway.
PARTS = {'documents.api_page_part', 'dashboard_static.file'}
LOGIN = {'/whatsapp-cloud/dashboard/login'}


def test_every_route_says_which_scope_it_needs(application):
    """The fix for a failure: `@scope('read')` (or another) below `@blueprint.get(…)`."""
    views = application.view_functions
    marks = [
        (rule.rule, getattr(views[rule.endpoint], 'scope', None))
        for rule in application.url_map.iter_rules()
    ]
    assert len(marks) >= 45
    assert [path for path, mark in marks if mark not in get_args(Scope)] == []
    parts = {rule.rule for rule in application.url_map.iter_rules() if rule.endpoint in PARTS}
    assert {path for path, mark in marks if mark == 'public'} == PUBLIC | LOGIN | parts
