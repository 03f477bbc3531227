"""A person at the dashboard: a browser without a script, in this process."""

import re
from html import unescape
from html.parser import HTMLParser

PATH = '/whatsapp-cloud/dashboard'
ORIGIN = 'http://localhost'  # of Flask's test client


class Person:
    """Has a browser of their own; .log_in(key), .get(path), .press(page, label)."""

    def __init__(self, application):
        self.browser = application.test_client()

    def open(self, path, method='GET', **options):
        where = path if path.startswith(PATH) else f'{PATH}{path}'
        headers = {'Accept': 'text/html,*/*;q=0.8', **options.pop('headers', {})}
        return self.browser.open(where, method=method, headers=headers, **options)

    def get(self, path='', **options):
        return self.open(path, **options)

    def post(self, path, form=(), headers=None, **options):
        """Send a form as a browser does from a page of this site."""
        headers = {'Origin': ORIGIN, **(headers or {})}
        return self.open(path, 'POST', data=dict(form), headers=headers, **options)

    def log_in(self, key='test-key', **options):
        answer = self.post('/login', {'key': key}, **options)
        return self if answer.status_code == 303 else answer

    def press(self, page, label, **values):
        """Send the form whose button has this label, with what is typed into its fields."""
        form = next(one for one in forms(page.text) if label in one.buttons)
        return self.post(form.action or page.request.path, form.fields | values)

    def csrf(self):
        return re.search('name="csrf" content="([^"]+)"', self.get().text)[1]


def older(page):
    """The address at which the list of a page goes on; None where it ends."""
    found = re.search(r'href="([^"]+cursor=[^"]+)" rel="next"', page.text)
    return unescape(found[1]) if found else None


def routes(application, method='GET'):
    """(rule, view) of every page behind the log-in."""
    for rule in application.url_map.iter_rules():
        view = application.view_functions[rule.endpoint]
        is_page = rule.endpoint.startswith('dashboard_') and view.scope != 'public'
        if is_page and method in rule.methods:
            yield rule, view


class Forms(HTMLParser):
    """The forms of a page: .found, each with .action, .fields and .buttons."""

    def __init__(self, text):
        super().__init__()
        self.found, self.button = [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == 'form':
            form = type('Form', (), {'action': given.get('action'), 'fields': {}, 'buttons': []})
            self.found.append(form)
        if tag == 'input' and self.found and 'name' in given:
            self.found[-1].fields[given['name']] = given.get('value') or ''
        self.button = tag == 'button' and bool(self.found)

    def handle_data(self, data):
        if self.button:
            self.found[-1].buttons.append(data.strip())
            self.button = False


def forms(text):
    return Forms(text).found
