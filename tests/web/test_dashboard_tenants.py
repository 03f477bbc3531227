"""What a key does not see, or may not do, is not there in the dashboard either: on no page, by no
id, no parameter and no field; and nothing that is sent to it makes it fail.
"""

import uuid

import pytest

from tests import dashboard
from tests.dashboard import Person
from tests.web.tenants import dump, fill, key_of

# Of a POST; what a form has not is passed over. `{}`: a tenant.
FORM = {
    'text': 'x',
    'minutes': '30',
    'hours': '1',
    'chatbot_id': '{}',
    'template': '{}_sale en_US',
}
ODD = ('', 'a\x00b', '<b>', '9' * 400, '٣')
ODD_PARTS = ('%00', '%ed%a0%80', '%3Cb%3E')


@pytest.fixture
def world(backend, meta, workers):
    return fill(backend, meta, workers)


@pytest.fixture
def person(application, backend, world):
    """person('acme', scopes=…): somebody who has logged in with a key of these chatbots."""

    def log_in(*chatbots, **more):
        key = key_of(backend, *chatbots, **more)
        return Person(application).log_in(key)

    return log_in


def routes(application, method):
    """(rule, view) of all pages behind the log-in, but those that are about nobody."""
    for rule, view in dashboard.routes(application, method):
        if not rule.endpoint.startswith(('dashboard_missing', 'dashboard_logout')):
            yield rule, view


def values(rule, tenant):
    """What stands in a rule's path for a tenant."""
    own = {'name': f'{tenant.chatbot_id}_sale'} | vars(tenant)
    return {name: own[name] for name in rule.arguments}


def form_of(tenant, word):
    filled = {name: value.format(tenant.chatbot_id) for name, value in FORM.items()}
    return filled | {'csrf': word, 'token': str(uuid.uuid4()), 'reply_to': tenant.message_id}


def test_another_tenants_id_is_nowhere(application, world, person):
    """Each in the place of one's own, the others left."""
    mine, theirs, one = world['other'], world['acme'], person('other')
    form, before = form_of(theirs, one.csrf()), dump()
    tried = 0
    for method in ('GET', 'POST'):
        for rule, view in routes(application, method):
            for name in rule.arguments:
                path = rule.build(values(rule, mine) | {name: values(rule, theirs)[name]})[1]
                query = {'chatbot_id': 'acme', 'language': 'en_US'} if name == 'name' else {}
                data = {'data': form, 'headers': {'Origin': 'http://localhost'}}
                more = data if method == 'POST' else {'query_string': query}
                answer = one.open(path, method, **more)
                assert answer.status_code == (403 if view.scope == 'root' else 404), path
                assert 'acmeSecret' not in answer.text, path
                tried += 1
    assert tried >= 25
    assert dump() == before


def test_no_parameter_shows_what_is_another_tenants(application, world, person):
    one, theirs = person('other'), world['acme']
    wanted = ['acmeSecret', 'acme_sale', *map(str, vars(theirs).values())]
    secrets = ('acmeSecret shared', '>acmeSecret', 'acme.user', 'acme.example', *wanted[3:])
    for rule, view in routes(application, 'GET'):
        path = rule.build(values(rule, world['other']))[1]
        for name in getattr(view, 'parameters', ()):
            for value in wanted:
                page = one.get(path, query_string={name: value})
                found = [text for text in secrets if text != value and text in page.text]
                assert found == [], (path, name, value)


@pytest.mark.parametrize('scopes', [('read',), ('read', 'send'), ('read', 'manage')])
def test_a_page_needs_the_scope_that_its_view_names(application, world, person, scopes):
    one = person('acme', scopes=scopes)
    form = form_of(world['acme'], one.csrf())
    for method in ('GET', 'POST'):
        for rule, view in routes(application, method):
            if view.scope not in scopes:
                path = rule.build(values(rule, world['acme']))[1]
                answer = one.get(path) if method == 'GET' else one.post(path, form)
                assert answer.status_code == 403, path
                assert 'lacks the scope' in answer.text or view.scope == 'root'


def test_nothing_that_is_sent_makes_a_page_fail(application, world):
    root, acme = Person(application).log_in(), world['acme']
    word = root.csrf()
    answers = []
    for rule, view in routes(application, 'GET'):
        path = rule.build(values(rule, acme))[1]
        names = getattr(view, 'parameters', ())
        answers += [root.get(path, query_string={name: odd}) for name in names for odd in ODD]
        answers += [root.get(odd) for odd in odd_paths(rule, acme)]
    for rule, _ in routes(application, 'POST'):
        path, form = rule.build(values(rule, acme))[1], form_of(acme, word)
        for name in () if path.endswith('/test') else form.keys() - {'csrf'}:  # that takes long
            forms = [form | {'token': str(uuid.uuid4()), name: odd} for odd in ODD[:2]]
            answers += [root.post(path, odd) for odd in forms]
        answers += [root.post(odd, {'csrf': word}) for odd in odd_paths(rule, acme)]
    assert [one.request.url for one in answers if one.status_code >= 500] == []
    assert len(answers) > 300


def odd_paths(rule, tenant):
    own = values(rule, tenant)
    path = rule.build(own)[1]
    return [path.replace(str(value), odd) for value in own.values() for odd in ODD_PARTS]
