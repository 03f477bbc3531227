"""What a caller who sees some chatbots alone may make of an account: nothing that leads to others'.

The caller of these checks holds the lock on accounts.
"""

from collections.abc import Collection
from typing import Any

from service.accounts import waba
from service.runtime.errors import Conflict, Invalid

WITH_TOKEN = ('phone_number_id', 'waba_id')
WABA_TAKEN = 'The waba_id is that of another chatbot; a key of API_KEYS can save it.'
INCOMPLETE = 'Give the access_token of this {} with it.'


def check_change(row: dict[str, Any], former: Any, seen: Collection[str]) -> None:
    """Check the new columns of an account. Raises Conflict or Invalid.

    `former`: the account as it was, None for a new one; `seen`: the chatbots that the caller sees.

    A token often opens more numbers and WABAs than its account's, so a stored one is not turned to
    others. And with the WABA of others would come their templates and Meta's news of it.
    """
    changed = [
        name
        for name in WITH_TOKEN
        if row.get(name) and row[name] != (former and getattr(former, name))
    ]
    if changed and 'access_token' not in row:
        sentence = INCOMPLETE.format(changed[0])
        raise Invalid(sentence, {'access_token': [sentence]})
    if 'waba_id' in changed and waba.is_shared(row['waba_id'], seen):
        raise Conflict(WABA_TAKEN, code='waba_taken')
