"""Message templates: a small list, approved at once."""

import random

from . import template_parts
from .template_parts import Problem


def template(
    name: str, category: str, body: str, template_id: str, language: str = 'en_US'
) -> dict:
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
            template(
                'hello_world', 'UTILITY', 'Welcome! This is a test message.', '1192339204654487'
            ),
            template(
                'order_ready',
                'UTILITY',
                'Hello {{1}}, your order {{2}} is ready.',
                '1192339204654488',
            ),
        ]

        self.calls: list[dict] = []

    def page(self, name: str | None, limit: int, after: int, address: str) -> dict:
        """`limit` templates; `next` stands there as long as there are more."""
        found = [one for one in self.known if name in (None, one['name'])]
        end = after + limit
        paging = {'cursors': {'before': str(after), 'after': str(end)}}
        return {
            'data': found[after:end],
            'paging': paging | ({'next': address} if found[end:] else {}),
        }

    def summary(self, wanted: list[str]) -> dict:
        """What the list's `summary` asks for, of all templates whatever the page."""
        count = len(self.known)
        known = {
            'total_count': count,
            'message_template_count': count,
            'message_template_limit': 250,
            'are_translations_complete': True,
        }
        return {name: known[name] for name in wanted if name in known}

    @staticmethod
    def example_problem(body: dict) -> str | None:
        try:
            return template_parts.example_problem(body.get('components') or [])
        except (AttributeError, TypeError):
            return 'components are not built as they should be'

    def create(self, body: dict) -> dict:
        made = {**body, 'status': 'APPROVED', 'id': str(random.randrange(10**15, 10**16))}
        self.known.append(made)
        return {key: made[key] for key in ('id', 'status', 'category')}

    def delete(self, name: str, template_id: str | None = None) -> bool:
        """All languages of a name, or the one of this id."""
        before = len(self.known)
        self.known = [
            one for one in self.known if one['name'] != name or template_id not in (None, one['id'])
        ]
        return len(self.known) < before

    def find(self, name: object, language: object) -> dict | None:
        """The one of that name and language; without a language, the first of that name."""
        found = [
            one
            for one in self.known
            if one['name'] == name and language in (None, one.get('language'))
        ]
        return found[0] if found else None

    def sent(self, template: dict) -> dict | None:
        language = template.get('language')
        return self.find(
            template.get('name'), language.get('code') if isinstance(language, dict) else None
        )

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
