"""The customer-service window: a person takes free-form messages for 24 hours after they wrote.

A call opens it, too (docs/meta.md, section 8). Of a person who never wrote to us, only Meta knows
whether it is open: they may have written to the number before it was ours.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

LENGTH = timedelta(hours=24)
OUTSIDE_WINDOW_CODE = 131047  # Meta's, for a free-form message after the window has closed

# In SQL, of a conversation `c`: whether its window is closed for sure. A group has no window.
CLOSED = "c.group_id IS NULL AND coalesce(c.last_inbound_at <= now() - interval '24 hours', false)"


def use_fallback(condition: str) -> str:
    """SQL: assignments that put the fallback of a message `m` in its place if a condition holds.

    Reading the fallback with ->> is safe: a template's name and language hold nothing that json
    takes and text does not.
    """
    replaced = "json_build_object('type', m.type, 'content', m.content)"
    language = "m.fallback -> 'language' ->> 'code'"
    return f"""
  type = CASE WHEN {condition} THEN 'template' ELSE m.type END,
  content = CASE WHEN {condition} THEN m.fallback ELSE m.content END,
  template_name = CASE WHEN {condition} THEN m.fallback ->> 'name' ELSE m.template_name END,
  template_language = CASE WHEN {condition} THEN {language} ELSE m.template_language END,
  fallback = CASE WHEN {condition} THEN NULL ELSE m.fallback END,
  replaced = CASE WHEN {condition} THEN {replaced} ELSE m.replaced END
"""


def closes_at(last_inbound_at: datetime | None) -> datetime | None:
    """When the window closes, or has closed; None when nobody knows."""
    return last_inbound_at and last_inbound_at + LENGTH


def wants_fallback(has_fallback: bool, error: Mapping[str, Any] | None) -> bool:
    """Whether a message that Meta refused for its window is sent as its template instead."""
    return bool(has_fallback and error and error.get('code') == OUTSIDE_WINDOW_CODE)
