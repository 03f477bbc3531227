"""Messages that a message points at: what the caller names by our id goes to Meta by its wamid."""

from service.runtime.db import connection, fetch
from service.runtime.errors import Invalid
from service.runtime.ids import is_id

FIND = 'SELECT id, wamid FROM message WHERE chatbot_id = %s AND id = ANY(%s::uuid[])'
POINTING = ('reaction', 'pin')  # types whose content has a message_id


def with_wamids(chatbot_id, message, prefix=''):
    """The message with wamids in place of our ids; one query, and only if there are any.

    Raises Invalid.
    """
    named = {
        path: where[path[-1]] for path, where in _places(message) if is_id(where.get(path[-1]))
    }
    if not named:
        return message
    with connection():
        wamids = dict(fetch(FIND, (chatbot_id, list(named.values()))))
    found = {path: _problem(wamids, value) for path, value in named.items()}
    problems = {
        f'{prefix}{".".join(path)}': [sentence] for path, sentence in found.items() if sentence
    }
    if problems:
        raise Invalid('A message that is pointed at cannot be found; see errors.', problems)
    for name, key in named:
        message = {**message, name: {**message[name], key: wamids[named[name, key].lower()]}}
    return message


def _places(message):
    for name in ('context', *POINTING):
        if isinstance(message.get(name), dict):
            yield (name, 'message_id'), message[name]


def _problem(wamids, value):
    if value.lower() not in wamids:
        return 'This chatbot has no message of this id.'
    return (
        None
        if wamids[value.lower()]
        else 'This message has no wamid yet: Meta has not accepted it.'
    )
