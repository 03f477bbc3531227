"""The accounts whose numbers webhooks came to, as the processing of webhooks needs them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.runtime.db import fetch
from service.runtime.prepared import Prepared
from service.runtime.rows import execute_bulk, fetch_as, fetch_bulk_as
from service.templates import template


@dataclass(frozen=True, slots=True)
class ReceivingAccount:
    """An account, as the processing of webhooks sees it.

    `own_app`: it has an app secret, and so a webhook path, of its own; `responder`: its kind, None
    for the default; `quiet_seconds`: None for REPLY_QUIET_SECONDS.
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
    quiet_seconds: float | None
    max_turns_a_day: int

    def is_served_on(self, path: str) -> bool:
        """Whether its webhooks come by this path: a chatbot's own one, or '', the common one."""
        return self.chatbot_id == path if path else not self.own_app


ACCOUNTS_OF_NUMBERS = Prepared("""
SELECT chatbot_id, phone_number_id, display_phone_number, waba_id, active,
  app_secret IS NOT NULL AS own_app, opt_out_words, opt_in_words, responder ->> 'kind' AS responder,
  quiet_seconds, max_turns_a_day
FROM whatsapp_cloud_account WHERE phone_number_id = ANY(%s)
""")
# An app of its own speaks for its own account alone, the common one for all that have none.
CHATBOTS_OF_WABA = """
SELECT chatbot_id FROM whatsapp_cloud_account
WHERE waba_id = %(waba_id)s
  AND CASE %(path)s WHEN '' THEN app_secret IS NULL ELSE chatbot_id = %(path)s END
"""


def of_numbers(numbers: Collection[str]) -> dict[str, ReceivingAccount]:
    """{phone_number_id: account} of those that are ours."""
    if not numbers:
        return {}
    found = fetch_as(ReceivingAccount, ACCOUNTS_OF_NUMBERS, (sorted(numbers),))
    return {account.phone_number_id: account for account in found}


def chatbots_of_waba(waba_id: str | None, path: str) -> list[str]:
    """The chatbots of a WABA that a webhook on this path may speak for; '' is the common path."""
    return [row[0] for row in fetch(CHATBOTS_OF_WABA, {'waba_id': waba_id, 'path': path})]


@dataclass(slots=True)
class WabaOnPath:
    """A WABA that a webhook on a path speaks of; None where its entry names none."""

    path: str
    waba_id: str | None


@dataclass(frozen=True, slots=True)
class AccountOfWaba:
    """An account that such a webhook may concern, and its number."""

    path: str
    waba_id: str | None
    chatbot_id: str
    phone_number_id: str
    display_phone_number: str | None


# As above. What an app of its own says of a WABA is refused only when it is known to be another.
ACCOUNTS_OF_WABAS = """
WITH n AS MATERIALIZED (SELECT DISTINCT path, waba_id FROM {rows})
SELECT n.path, n.waba_id, a.chatbot_id, a.phone_number_id, a.display_phone_number
FROM n JOIN whatsapp_cloud_account a ON CASE n.path
  WHEN '' THEN a.waba_id = n.waba_id AND a.app_secret IS NULL
  ELSE a.chatbot_id = n.path AND (a.waba_id = n.waba_id) IS NOT FALSE END
ORDER BY a.chatbot_id
"""


def of_wabas(wabas: Sequence[WabaOnPath]) -> list[AccountOfWaba]:
    """The accounts that webhooks of these WABAs on these paths may concern."""
    return fetch_bulk_as(AccountOfWaba, ACCOUNTS_OF_WABAS, wabas)


OWNS_WABA = 'SELECT 1 FROM whatsapp_cloud_account WHERE chatbot_id = %s AND waba_id = %s'


def speaks_for(chatbot_id: str, waba_id: str | None) -> bool:
    """Whether an app of its own may speak of this WABA: only of that of its account.

    Whoever knows its secret could else stop or start the sends of others.
    """
    return bool(fetch(OWNS_WABA, (chatbot_id, waba_id)))


class ReceivedItem(Protocol):
    """A part of a webhook that tells of the number that it came to (webhooks.item.Item)."""

    @property
    def account(self) -> ReceivingAccount | None: ...
    @property
    def display_phone_number(self) -> str | None: ...
    @property
    def waba_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class AccountNews:
    """What is new of an account; None where nothing is."""

    chatbot_id: str
    display_phone_number: str | None
    waba_id: str | None


FILL_IN_ACCOUNTS = """
UPDATE whatsapp_cloud_account a
SET display_phone_number = coalesce(a.display_phone_number, n.display_phone_number),
  waba_id = coalesce(a.waba_id, n.waba_id), updated_at = now()
FROM {rows} WHERE a.chatbot_id = n.chatbot_id
"""


def fill_in_accounts(items: Iterable[ReceivedItem]) -> None:
    """Fill in what the accounts lack and the items of a batch tell; no query when that is nothing.

    The templates of a WABA that nobody knew are read at the clock's next look.
    """
    told = {item.account.chatbot_id: _news(item.account, item) for item in items if item.account}
    news = [told[chatbot_id] for chatbot_id in sorted(told) if _is_new(told[chatbot_id])]
    if not news:
        return
    waba_ids = {one.waba_id for one in news}
    template.request_sync(waba_ids)  # before the accounts: others lock in this order, too
    execute_bulk(FILL_IN_ACCOUNTS, news)
    template.request_sync(waba_ids)


def _news(account: ReceivingAccount, item: ReceivedItem) -> AccountNews:
    """What the account lacks and the item tells; no WABA from an app that could name another's."""
    lacks_waba = not account.waba_id and not account.own_app
    display = None if account.display_phone_number else item.display_phone_number
    return AccountNews(account.chatbot_id, display, item.waba_id if lacks_waba else None)


def _is_new(news: AccountNews) -> bool:
    return bool(news.display_phone_number or news.waba_id)
