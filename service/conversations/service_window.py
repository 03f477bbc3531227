"""The customer-service window: free-form messages reach a person within 24 hours of their last
message or call.

Section 8 of the fact sheet. What a person never wrote to us, they may have written before we were
there: only Meta knows about that window.
"""

from datetime import timedelta

LENGTH = timedelta(hours=24)
REFUSED = 131047  # Meta's code for a free-form message outside it

# In SQL, of a conversation `c`. A group has no window.
CLOSED = "c.group_id IS NULL AND coalesce(c.last_inbound_at <= now() - interval '24 hours', false)"
# Of a message `m`: its fallback takes its place. Templates hold nothing that json may and text may
# not.
TAKE_FALLBACK = """
  type = CASE WHEN {when} THEN 'template' ELSE m.type END,
  content = CASE WHEN {when} THEN m.fallback ELSE m.content END,
  template_name = CASE WHEN {when} THEN m.fallback ->> 'name' ELSE m.template_name END,
  template_language = CASE WHEN {when} THEN m.fallback -> 'language' ->> 'code' ELSE m.template_language END,
  fallback = CASE WHEN {when} THEN NULL ELSE m.fallback END,
  replaced = CASE WHEN {when} THEN json_build_object('type', m.type, 'content', m.content) ELSE m.replaced END
"""


def closes_at(last_inbound_at):
    """When it closes, or has closed; None when nobody knows."""
    return last_inbound_at and last_inbound_at + LENGTH


def wants_fallback(row, error):
    """Whether a message (`has_fallback`) that Meta refused for its window goes as its template
    instead.
    """
    return bool(row['has_fallback'] and error and error.get('code') == REFUSED)
