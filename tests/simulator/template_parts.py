"""Pure: a template with the parameters of a send, as Meta checks it and as the phone shows it."""

import re

Problem = tuple[int, str]
PLACEHOLDER = re.compile(r'\{\{\s*([\w.]+)\s*\}\}')
MEDIA = ('image', 'video', 'document')
BREAKS = re.compile(r'[\n\r\t]| {5}')
NO_BREAKS = 'Param text cannot have new-line/tab characters or more than 4 consecutive spaces'
EXAMPLES = {
    'BODY': ('body_text', 'body_text_named_params'),
    'HEADER': ('header_text', 'header_text_named_params', 'header_handle'),
}
UNUSABLE = {
    'PAUSED': (132015, 'The template is paused.'),
    'DISABLED': (132016, 'The template is disabled.'),
}


def upper(part: dict, name: str = 'type') -> str:
    return str(part.get(name, '')).upper()


def component(parts: list, kind: str) -> dict:
    return next((part for part in parts or () if upper(part) == kind), {})


def problem(template: dict | None, sent: dict) -> Problem | None:
    """What Meta answers to a send of this template, None when it is good."""
    if template and (unusable := UNUSABLE.get(template['status'])):
        return unusable
    if not template or template['status'] != 'APPROVED':
        language = (sent.get('language') or {}).get('code')
        return (
            132001,
            f'Template name ({sent.get("name")}) does not exist in the translation ({language}).',
        )
    components = sent.get('components') or []
    return parts_problem(template.get('components') or [], components) or variables_problem(
        components
    )


def variables_problem(sent: list) -> Problem | None:
    """What no variable may hold, in whatever component, of the cards too."""
    for part in sent:
        for parameter in part.get('parameters') or ():
            text = variable(parameter)
            if text is not None and (BREAKS.search(text) or not text.strip()):
                return 132018, f'{upper(part).lower()}: {NO_BREAKS}'
        for card in part.get('cards') or ():
            if found := variables_problem(card.get('components') or []):
                return found
    return None


def variable(parameter: dict) -> str | None:
    """The text of a parameter that is shown, None of any other."""
    kind = str(parameter.get('type')).lower()
    if kind in ('currency', 'date_time'):
        return str(parameter[kind].get('fallback_value', ''))
    return str(parameter.get(kind)) if kind in ('text', 'coupon_code') else None


def example_problem(parts: list) -> str | None:
    """Why Meta would not look at a new template: what has something variable needs an example of
    it.
    """
    for part in parts:
        kind, given = upper(part), part.get('example') or {}
        media = kind == 'HEADER' and upper(part, 'format').lower() in MEDIA
        wanted = [name for name in EXAMPLES.get(kind, ()) if name.endswith('handle') == media]
        if (media or PLACEHOLDER.search(part.get('text') or '')) and not any(
            given.get(name) for name in wanted
        ):
            return f'component of type {kind} is missing expected field(s) (example)'
        for button in part.get('buttons') or ():
            if PLACEHOLDER.search(button.get('url') or '') and not button.get('example'):
                return (
                    'component of type BUTTONS is missing expected field(s) (example of '
                    f'{upper(button)})'
                )
        for card in part.get('cards') or ():
            if found := example_problem(card.get('components') or []):
                return found
    return None


def parts_problem(parts: list, sent: list) -> Problem | None:
    header = component(parts, 'HEADER')
    return (
        header_problem(header, component(sent, 'HEADER').get('parameters') or [])
        or count_problem(
            'body',
            component(parts, 'BODY').get('text'),
            component(sent, 'BODY').get('parameters') or [],
        )
        or buttons_problem(component(parts, 'BUTTONS').get('buttons') or [], sent)
        or cards_problem(
            component(parts, 'CAROUSEL').get('cards') or [],
            component(sent, 'CAROUSEL').get('cards') or [],
        )
    )


def header_problem(header: dict, given: list) -> Problem | None:
    kind = upper(header, 'format').lower()
    if kind in MEDIA:
        good = len(given) == 1 and str(given[0].get('type')).lower() == kind
        return None if good else (132012, f'header: Format mismatch, expected {kind.upper()}.')
    if kind == 'location':
        return None if len(given) == 1 else (132012, 'header: Format mismatch, expected LOCATION.')
    return count_problem('header', header.get('text'), given)


def count_problem(where: str, pattern: str | None, given: list) -> Problem | None:
    wanted = {match[1] for match in PLACEHOLDER.finditer(pattern or '')}
    if len(given) != len(wanted):
        return (
            132000,
            f'{where}: number of localizable_params ({len(given)}) does not match the expected '
            f'({len(wanted)})',
        )
    named = {name for name in wanted if not name.isdigit()}
    if named and named != {one.get('parameter_name') for one in given}:
        return 100, f'{where}: Parameter name is missing or empty'
    return None


def buttons_problem(buttons: list, sent: list) -> Problem | None:
    """Those with something variable want a parameter of their own."""
    given = {
        (str(part.get('index')))
        for part in sent
        if upper(part) == 'BUTTON' and part.get('parameters')
    }
    for index, button in enumerate(buttons):
        variable = upper(button) == 'URL' and PLACEHOLDER.search(button.get('url') or '')
        if (variable or upper(button) == 'COPY_CODE') and str(index) not in given:
            return (
                131008,
                f'buttons: Button at index {index} of type {upper(button).title()} requires a '
                'parameter',
            )
    return None


def cards_problem(cards: list, given: list) -> Problem | None:
    if len(cards) != len(given):
        return 132012, f'carousel: {len(cards)} cards are expected, {len(given)} were given'
    problems = (
        parts_problem(card.get('components') or [], sent.get('components') or [])
        for card, sent in zip(cards, given, strict=True)
    )
    return next(filter(None, problems), None)


def rendered(template: dict | None, sent: dict) -> dict | None:
    """Header, body, footer, buttons and cards with everything filled in, for the phone page."""
    return (
        filled(template.get('components') or [], sent.get('components') or []) if template else None
    )


def filled(parts: list, sent: list) -> dict:
    cards = zip(
        component(parts, 'CAROUSEL').get('cards') or (),
        component(sent, 'CAROUSEL').get('cards') or (),
        strict=False,
    )
    return {
        'header': header(
            component(parts, 'HEADER'), component(sent, 'HEADER').get('parameters') or []
        ),
        'body': fill(
            component(parts, 'BODY').get('text'), component(sent, 'BODY').get('parameters') or []
        ),
        'footer': component(parts, 'FOOTER').get('text'),
        'buttons': buttons(component(parts, 'BUTTONS').get('buttons') or [], sent),
        'cards': [
            filled(card.get('components') or [], one.get('components') or []) for card, one in cards
        ],
    }


def header(part: dict, given: list) -> dict | None:
    kind = upper(part, 'format').lower()
    if kind == 'text':
        return {'type': 'text', 'text': fill(part.get('text'), given)}
    return {'type': kind, kind: given[0].get(kind) or {}} if kind and given else None


def fill(pattern: str | None, given: list) -> str | None:
    values = {str(at): words(one) for at, one in enumerate(given, start=1)}
    values |= {one['parameter_name']: words(one) for one in given if one.get('parameter_name')}
    return pattern and PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), pattern)


def words(parameter: dict) -> str:
    """What stands in the text: of a currency or a date its fallback."""
    kind = str(parameter.get('type'))
    inner = parameter.get(kind)
    return (
        str(inner.get('fallback_value', ''))
        if isinstance(inner, dict)
        else str(parameter.get('text', ''))
    )


def buttons(known: list, sent: list) -> list[dict]:
    given = {
        str(part.get('index')): (part.get('parameters') or [{}])[0]
        for part in sent
        if upper(part) == 'BUTTON'
    }
    return [button(one, given.get(str(index), {})) for index, one in enumerate(known)]


def button(known: dict, given: dict) -> dict:
    kind = upper(known).lower()
    shown = {'type': kind, 'text': known.get('text') or kind.replace('_', ' ').capitalize()}
    if kind == 'quick_reply':
        shown['payload'] = given.get('payload') or shown['text']
    if kind == 'url':
        shown['url'] = PLACEHOLDER.sub(lambda _: str(given.get('text', '')), known.get('url') or '')
    if kind == 'phone_number':
        shown['phone_number'] = known.get('phone_number')
    if kind in ('copy_code', 'otp'):
        shown['code'] = given.get('coupon_code') or given.get('text')
    return shown
