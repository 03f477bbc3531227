"""Whose number a webhook came to: what the way in needs to know of an account, read for a whole
batch at once.
"""

from collections.abc import Collection
from dataclasses import dataclass

from service.runtime.db import fetch, fetch_dicts


@dataclass(frozen=True, slots=True)
class ReceivingAccount:
    """`own_app`: it has an app secret, and so a webhook path, of its own; `responder`: its kind,
    None: the default.
    """

    chatbot_id: str
    phone_number_id: str
    display_phone_number: str | None
    waba_id: str | None
    active: bool
    own_app: bool
    opt_out_words: list[str] | None
    opt_in_words: list[str] | None
    responder: str | None


ACCOUNTS_OF_NUMBERS = """
SELECT chatbot_id, phone_number_id, display_phone_number, waba_id, active, app_secret IS NOT NULL AS own_app,
  opt_out_words, opt_in_words, responder ->> 'kind' AS responder
FROM whatsapp_cloud_account WHERE phone_number_id = ANY(%s)
"""
# An app of its own speaks for its own account alone, the common one for all that have none.
CHATBOTS_OF_WABA = """
SELECT chatbot_id FROM whatsapp_cloud_account
WHERE waba_id = %(waba_id)s
  AND CASE %(path)s WHEN '' THEN app_secret IS NULL ELSE chatbot_id = %(path)s END
"""


def of_numbers(numbers: Collection[str]) -> dict[str, ReceivingAccount]:
    """{phone_number_id: account} of those that are ours."""
    rows = fetch_dicts(ACCOUNTS_OF_NUMBERS, (sorted(numbers),))
    return {row['phone_number_id']: ReceivingAccount(**row) for row in rows}


def chatbots_of_waba(waba_id: str | None, path: str) -> list[str]:
    """The chatbots of a WABA that a webhook on this path may speak for; '' is the path of the
    common app.
    """
    return [row[0] for row in fetch(CHATBOTS_OF_WABA, {'waba_id': waba_id, 'path': path})]
