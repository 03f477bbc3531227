"""Message templates: a small list, approved at once."""

import random
import re

PLACEHOLDER = re.compile(r'\{\{\s*([\w.]+)\s*\}\}')


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

    def rendered(self, sent: dict) -> str | None:
        """The body text with its parameters filled in, for the phone page."""
        texts = [
            part.get('text')
            for one in self.known
            if one['name'] == sent.get('name')
            for part in one.get('components') or ()
            if part.get('type') == 'BODY'
        ]
        given = [
            parameter
            for part in sent.get('components') or ()
            if str(part.get('type')).lower() == 'body'
            for parameter in part.get('parameters') or ()
        ]
        values = {str(at): str(one.get('text', '')) for at, one in enumerate(given, start=1)}
        values |= {one['parameter_name']: str(one.get('text', '')) for one in given if one.get('parameter_name')}
        if not texts or not texts[0]:
            return None
        return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), texts[0])
