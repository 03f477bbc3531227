"""Lists of accounts."""

from peewee import ModelSelect, Value

from service.accounts.account import Account
from service.graph import outage
from service.runtime.errors import Invalid


def newest(
    chatbots: list[str] | None, send_state: str | None, after: str | None, limit: int
) -> list[Account]:
    """Accounts, the newest first, those behind the chatbot_id `after`.

    `chatbots`: of these alone; None: of all. Raises Invalid.
    """
    query = Account.select().order_by(Account.created_at.desc(), Account.chatbot_id).limit(limit)
    if chatbots is not None:
        query = query.where(Account.chatbot_id.in_(chatbots))
    if send_state:
        query = _in_state(query, send_state)
    if after:
        last = Account.get_or_none(Account.chatbot_id == after)
        if last is None or (chatbots is not None and after not in chatbots):
            raise Invalid('cursor is not valid.', {'cursor': ['Not a cursor of ours.']})
        same_time = (Account.created_at == last.created_at) & (Account.chatbot_id > after)
        query = query.where((Account.created_at < last.created_at) | same_time)
    return list(query)


def _in_state(query: 'ModelSelect[Account]', send_state: str) -> 'ModelSelect[Account]':
    """The query, limited to accounts in one of account.SEND_STATES."""
    if send_state == 'held':
        return query.where(Account.send_state == 'held')
    away = outage.current()
    numbers = [one.phone_number_id for one in away.values()]
    is_away = (Account.phone_number_id.in_(numbers)) | Value(outage.ALL in away)
    is_wanted = is_away if send_state == 'away' else ~is_away
    return query.where(Account.send_state == 'ok', is_wanted)
