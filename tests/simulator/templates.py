"""Message templates: a small list, approved at once."""

import random

from . import template_parts
from .template_parts import Problem


def template(name: str, category: str, body: str, template_id: str, language: str = 'en_US') -> dict:
    return {
        'name': name,
        'parameter_format': 'POSITIONAL',
        'components': [{'type': 'BODY', 'text': body}],
        'language': language,
        'status': 'APPROVED',
        'category': category,
        'id': template_id,
    }


class Templates:
    def __init__(self) -> None:
        self.known = [
            template('hello_world', 'UTILITY', 'Welcome! This is a test message.', '1192339204654487'),
            template('order_ready', 'UTILITY', 'Hello {{1}}, your order {{2}} is ready.', '1192339204654488'),
        ]

    def page(self, name: str | None) -> dict:
        found = [one for one in self.known if name in (None, one['name'])]
        return {'data': found, 'paging': {'cursors': {'before': 'MAZDZD', 'after': 'MjQZD'}}}

    def create(self, body: dict) -> dict:
        made = {**body, 'status': 'APPROVED', 'id': str(random.randrange(10**15, 10**16))}
        self.known.append(made)
        return {key: made[key] for key in ('id', 'status', 'category')}

    def delete(self, name: str) -> bool:
        before = len(self.known)
        self.known = [one for one in self.known if one['name'] != name]
        return len(self.known) < before

    def find(self, name: object, language: object) -> dict | None:
        """The one of that name and language; without a language, the first of that name."""
        found = [one for one in self.known if one['name'] == name and language in (None, one.get('language'))]
        return found[0] if found else None

    def sent(self, template: dict) -> dict | None:
        language = template.get('language')
        return self.find(template.get('name'), language.get('code') if isinstance(language, dict) else None)

    def problem(self, template: dict) -> Problem | None:
        """What Meta answers to a send that is not good."""
        try:
            return template_parts.problem(self.sent(template), template)
        except (AttributeError, TypeError, KeyError) as error:
            return 100, f'template is not built as it should be ({type(error).__name__}).'

    def rendered(self, template: dict) -> dict | None:
        """With its parameters filled in, for the phone page; None when that cannot be done."""
        try:
            return template_parts.rendered(self.sent(template), template)
        except (AttributeError, TypeError, KeyError):
            return None
