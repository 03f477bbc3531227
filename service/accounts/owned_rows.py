"""The newest rows of some chatbots, each of which has its own place in an index."""

from typing import Any

from peewee import JOIN, ModelSelect

from service.accounts.account import Account
from service.runtime.ids import LAST_ID
from service.runtime.model import Model


def newest(
    query: 'ModelSelect[Any]',
    model: type[Model],
    chatbots: list[str] | None,
    before: str | None,
    limit: int,
) -> list[Any]:
    """At most `limit` rows of a query over a model, the newest first, those before an id.

    `chatbots`: of these alone, for which the model has a chatbot_id; None: of all. Of several each
    one's newest are looked up: an index has the rows of one in their order, not those of many.
    """
    query = query.where(model.id < (before or LAST_ID)).order_by(model.id.desc()).limit(limit)
    if chatbots is None:
        return list(query)
    owned: Any = model
    if len(chatbots) == 1:
        return list(query.where(owned.chatbot_id == chatbots[0]))
    of_one = query.select(model.id).where(owned.chatbot_id == Account.chatbot_id).alias('of_one')
    ids = (
        Account.select(of_one.c.id)
        .join(of_one, JOIN.LEFT_LATERAL, on=True)
        .where(Account.chatbot_id.in_(chatbots), of_one.c.id.is_null(False))
        .order_by(of_one.c.id.desc())
        .limit(limit)
    )
    return list(model.select().where(model.id.in_(ids)).order_by(model.id.desc()))
