"""What Meta says of an account's phone number."""

from collections.abc import Iterator
from typing import Any

from service.doctor.check import Check, fail, ok, warn
from service.runtime.untrusted import as_dict, clean, list_of_dicts

FIELDS = (
    'display_phone_number',
    'verified_name',
    'name_status',
    'status',
    'platform_type',
    'code_verification_status',
    'quality_rating',
)
# Younger ones: a version of the Graph API that does not know one refuses all that were asked for.
LATER_FIELDS = (
    'whatsapp_business_manager_messaging_limit',
    'health_status',
    'webhook_configuration',
)

WORKS = ('CONNECTED', 'FLAGGED', 'RATE_LIMITED', 'RESTRICTED')
NAMED = ('APPROVED', 'AVAILABLE_WITHOUT_REVIEW')
FIX_REGISTER = 'Register it: POST /<phone_number_id>/register (docs/setup.md, step 4).'
FIX_MANAGER = 'See WhatsApp Manager > Phone numbers, which says why and what Meta wants.'
FIX_QUALITY = (
    'Send less that people did not ask for, above all marketing; see the reasons in '
    'WhatsApp Manager > Insights.'
)
SMALLEST_LIMITS = ('TIER_50', 'TIER_250')
FIX_LIMIT = (
    'Verify the business in Meta Business Suite > Security Center; then the limit grows by itself '
    'with what is sent.'
)


def look(number: dict[str, Any]) -> Iterator[Check]:
    """Judge FIELDS."""
    yield _registered(number)
    yield _verified(number)
    yield _name(number)
    yield _quality(number)


def look_later(number: dict[str, Any]) -> Iterator[Check]:
    """Judge LATER_FIELDS but the callback, as far as they are told."""
    limit = _word(number, 'whatsapp_business_manager_messaging_limit')
    if limit:
        yield _limit(limit)
    health = as_dict(number.get('health_status'))
    if health:
        yield _health(health)


def _word(number: dict[str, Any], field: str) -> str:
    return clean(number.get(field), 100) or ''


def _registered(number: dict[str, Any]) -> Check:
    name = 'number'
    status, platform = _word(number, 'status'), _word(number, 'platform_type')
    if platform and platform != 'CLOUD_API':
        return fail(name, f'It is not registered for the Cloud API ({platform}).', FIX_REGISTER)
    if status == 'CONNECTED':
        return ok(name, 'It is registered for the Cloud API and connected.')
    if status in WORKS:
        return warn(name, f'It works with limits: its status is {status}.', FIX_MANAGER)
    fix = f'{FIX_REGISTER} {FIX_MANAGER}'
    return fail(name, f'It is not connected: its status is {status or "not told"}.', fix)


def _verified(number: dict[str, Any]) -> Check:
    name = 'number_verified'
    status = _word(number, 'code_verification_status')
    if status == 'NOT_VERIFIED':
        fix = 'Verify it by SMS or call in WhatsApp Manager > Phone numbers.'
        return warn(name, 'That the number is yours was not verified.', fix)
    return ok(name, f'Its verification: {status.lower() or "not told"}.')


def _name(number: dict[str, Any]) -> Check:
    name = 'display_name'
    shown, status = _word(number, 'verified_name'), _word(number, 'name_status')
    detail = f'The display name "{shown}" is: {status.lower().replace("_", " ") or "not told"}.'
    if status in NAMED:
        return ok(name, detail)
    if status in ('DECLINED', 'EXPIRED'):
        return fail(name, detail, 'Ask for another one in WhatsApp Manager > Phone numbers.')
    fix = 'Wait for the review, or ask for it in WhatsApp Manager > Phone numbers.'
    return warn(name, detail, fix)


def _quality(number: dict[str, Any]) -> Check:
    rating = _word(number, 'quality_rating')
    detail = f'Its quality is {rating.lower() or "not told"}.'
    if rating == 'RED':
        return fail('quality', detail, FIX_QUALITY)
    return warn('quality', detail, FIX_QUALITY) if rating == 'YELLOW' else ok('quality', detail)


def _limit(limit: str) -> Check:
    people = limit.removeprefix('TIER_').lower()
    detail = f'People who may be written to first within 24 hours: {people}.'
    if limit in SMALLEST_LIMITS:
        return warn('messaging_limit', detail, FIX_LIMIT)
    return ok('messaging_limit', detail)


def _health(health: dict[str, Any]) -> Check:
    """Meta's own opinion of whether messages can be sent."""
    name = 'messaging_health'
    state = _word(health, 'can_send_message')
    if state not in ('BLOCKED', 'LIMITED'):
        return ok(name, f'Meta lets it send: {state.lower() or "not told"}.')
    told, fixes = _reasons(health)
    tell = fail if state == 'BLOCKED' else warn
    detail = ' '.join([f'Meta says: {state.lower()}.', *told])
    return tell(name, detail[:500], ' '.join(fixes)[:500] or FIX_MANAGER)


def _reasons(health: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What Meta says of the number, its WABA, business and app; and what it says to do."""
    told: list[str] = []
    fixes: list[str] = []
    for entity in list_of_dicts(health.get('entities')):
        told += [text for one in _texts(entity) if (text := clean(one, 200))]
        for error in list_of_dicts(entity.get('errors')):
            told.append(clean(error.get('error_description'), 200) or '')
            fixes.append(clean(error.get('possible_solution'), 200) or '')
    return list(filter(None, told)), list(filter(None, fixes))


def _texts(entity: dict[str, Any]) -> list[Any]:
    value = entity.get('additional_info')
    return value if isinstance(value, list) else []
