"""Templates, as far as Meta's webhooks tell: what is paused, what goes again, what is for authentication."""

from service.db import execute
from service.webhook_events import clean

FIELDS = frozenset(('message_template_status_update', 'template_category_update'))
GOES_AGAIN = frozenset(('APPROVED', 'REINSTATED', 'UNARCHIVED'))

HEARD = """
INSERT INTO template AS t (waba_id, name, language, status, category) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (waba_id, name, language) DO UPDATE SET status = coalesce(excluded.status, t.status),
  category = coalesce(excluded.category, t.category), updated_at = now()
"""
RELEASE = """
UPDATE message m SET status = CASE WHEN a.active AND a.send_state = 'ok' THEN 'queued' ELSE 'held' END,
  hold_reason = CASE WHEN a.active AND a.send_state = 'ok' THEN NULL ELSE 'account' END,
  due_at = CASE WHEN a.active AND a.send_state = 'ok' THEN now() END, attempts = 0, error = NULL, updated_at = now()
FROM whatsapp_cloud_account a
WHERE a.waba_id = %s AND m.chatbot_id = a.chatbot_id AND m.status = 'held' AND m.hold_reason = 'template'
  AND m.content ->> 'name' = %s AND m.content -> 'language' ->> 'code' = %s
"""


def heard(field, waba_id, value):
    """A template webhook (section 5): keep what it says; messages that waited for the template go again."""
    name, language = clean(value.get('message_template_name'), 512), clean(value.get('message_template_language'), 64)
    if not (waba_id and name and language):
        return
    status = clean(value.get('event'), 64) if field == 'message_template_status_update' else None
    execute(HEARD, (waba_id, name, language, status, _category(field, value)))
    if status in GOES_AGAIN:
        execute(RELEASE, (waba_id, name, language))


def _category(field, value):
    """What it is now: an impending change (with `correct_category`) is none yet."""
    if field == 'template_category_update':
        category = None if value.get('correct_category') else clean(value.get('new_category'), 64)
    else:
        category = clean(value.get('message_template_category'), 64)
    return category and category.lower()
