"""Whose a media id of Meta's is: known of customers' files, of ours, and of those that callers
uploaded through the Graph door.
"""

from service.runtime.db import execute, fetch

KEPT_DAYS = 31  # Meta keeps a file for 30
FIND_OWNERS = """
SELECT chatbot_id FROM graph_media WHERE meta_id = %(meta_id)s
UNION ALL SELECT chatbot_id FROM media WHERE meta_id = %(meta_id)s
UNION ALL SELECT m.chatbot_id FROM media_upload u JOIN media m ON m.id = u.media_id
  WHERE u.meta_id = %(meta_id)s
"""
ADD_UPLOADED = """
INSERT INTO graph_media (meta_id, chatbot_id) VALUES (%(meta_id)s, %(chatbot_id)s)
ON CONFLICT DO NOTHING
"""
FORGET_OLD = """
DELETE FROM graph_media WHERE meta_id IN (
  SELECT meta_id FROM graph_media WHERE created_at < now() - %s * interval '1 day'
  ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED)
"""


def owners(meta_id: str) -> set[str]:
    """The chatbots whose file it is; none when nobody here has heard of it."""
    return {chatbot_id for (chatbot_id,) in fetch(FIND_OWNERS, {'meta_id': meta_id})}


def add_uploaded(meta_id: str, chatbot_id: str) -> None:
    """Meta has given this id to a caller; ids that Meta has forgotten go."""
    execute(ADD_UPLOADED, {'meta_id': meta_id, 'chatbot_id': chatbot_id})
    execute(FORGET_OLD, (KEPT_DAYS,))
