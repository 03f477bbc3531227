"""The chatbots among which a person chooses."""

from service.accounts.account import Account
from service.web.auth import restrict

MAX_CHOICES = 500


def chatbot_choices() -> list[tuple[str, str]]:
    """(value, label) of those that the key sees, in their order; at most MAX_CHOICES."""
    query = Account.select(Account.chatbot_id).order_by(Account.chatbot_id).limit(MAX_CHOICES)
    seen = restrict(query, Account.chatbot_id)
    return [(one.chatbot_id, one.chatbot_id) for one in seen]
