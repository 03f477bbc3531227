"""The words of a message as PostgreSQL's tsvector: what table message_search has of it.

Each word has before it when and whose the message is: three hex digits of the time in its id (they
change every 50 days), and three of a digest of its chatbot. So what comes in now is written to one
part of the index, and a search reads only the parts of its chatbot, the newest first. SQL has the
same as PLACE.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Annotated

from service.content.search_words import words
from service.runtime.rows import Column

TsVector = Annotated[str, Column('tsvector')]

# of a message `m`
PLACE = """substr(m.id::text, 2, 3)
  || left(encode(sha256(convert_to(m.chatbot_id, 'UTF8')), 'hex'), 3)"""


def vector(message_id: str, chatbot_id: str, *texts: str) -> str:
    """The words of a message's texts; '' when they have none."""
    return _placed_words(period(message_id) + owner(chatbot_id), '\n'.join(texts))


@lru_cache(16)  # one text goes to many at a time
def _placed_words(place: str, text: str) -> str:
    return ' '.join([f"'{place}{word}'" for word in words(text)])


def period(message_id: str) -> str:
    """The 50 days in which an id was made, as they stand before a word."""
    return message_id[1:4]


@lru_cache(1000)
def owner(chatbot_id: str) -> str:
    """A chatbot as it stands before a word. That of another one may be the same."""
    return sha256(chatbot_id.encode()).hexdigest()[:3]
