"""Accounts: one chatbot, its number, its token and its responder."""

import json
from collections.abc import Collection, Iterable
from typing import Any, Self

from peewee import (
    BooleanField,
    Case,
    DateTimeField,
    FloatField,
    IntegerField,
    Model,
    TextField,
    fn,
)

from service.accounts import responder_secret, responder_state, tenant_rules
from service.graph import outage
from service.graph.error_codes import explain
from service.graph.outcome import ErrorDict
from service.runtime import encryption
from service.runtime.db import db, execute, fetch_dicts
from service.runtime.errors import BadRequest, Conflict, NotFound
from service.runtime.model import JSON, columns_of
from service.runtime.prepared import Prepared
from service.runtime.untrusted import UNSTORABLE
from service.templates import template

# Saves wait for each other, so that no two chatbots get one number.
LOCK_ACCOUNTS = "SELECT pg_advisory_xact_lock(hashtextextended('accounts', 1))"

# In SQL, of an account `a`: whether its messages may leave. While Meta is away (graph/outage.py)
# they stay queued.
MAY_SEND = "a.active AND a.send_state = 'ok'"
# In SQL, of a table of all chatbots' rows: those of some, or with null of all.
OF_CHATBOTS = '(%(chatbots)s::text[] IS NULL OR chatbot_id = ANY(%(chatbots)s::text[]))'
SEND_STATES = ('ok', 'held', 'away')  # the last one stands in service/graph/outage.py
# What callers see of an account as it is; the state of sending comes after the responder.
PUBLIC_COLUMNS = (
    'chatbot_id', 'phone_number_id', 'display_phone_number', 'waba_id', 'name', 'max_mps',
    'on_unknown', 'read_receipts', 'opt_out_words', 'opt_in_words', 'quiet_seconds',
    'reply_ttl_seconds', 'max_turns_a_day', 'pause_minutes', 'fallback_text', 'monthly_budget',
    'active',
)  # fmt: skip
# Of an account that says nothing: whatever it has is kept.
KEPT: dict[str, int | None] = dict.fromkeys(('events_days', 'text_days', 'media_days'))
STATE_COLUMNS = (
    'responder_state', 'responder_state_reason', 'responder_state_since', 'send_state',
    'send_state_reason', 'send_state_since', 'created_at', 'updated_at',
)  # fmt: skip


class Account(Model):
    chatbot_id = TextField(primary_key=True)
    phone_number_id = TextField()
    display_phone_number = TextField(null=True)
    waba_id = TextField(null=True)
    name = TextField(null=True)
    access_token = TextField()
    app_secret = TextField(null=True)
    webhook_verify_token = TextField(null=True)
    responder = JSON(null=True)
    responder_secret = TextField(null=True)
    max_mps = IntegerField(null=True)
    on_unknown = TextField(default='resend')
    read_receipts = TextField(default='none')
    opt_out_words = JSON(null=True)
    opt_in_words = JSON(null=True)
    quiet_seconds = FloatField(null=True)
    reply_ttl_seconds = IntegerField(default=300)
    max_turns_a_day = IntegerField(default=200)
    pause_minutes = IntegerField(default=720)
    fallback_text = TextField(null=True)
    monthly_budget = FloatField(null=True)
    retention = JSON(null=True)
    responder_state = TextField(default='ok')
    responder_state_reason = JSON(null=True)
    responder_state_since = DateTimeField(null=True)
    former_responder_secret = TextField(null=True)
    former_responder_secret_until = DateTimeField(null=True)
    active = BooleanField(default=True)
    send_state = TextField(default='ok')
    send_state_reason = JSON(null=True)
    send_state_since = DateTimeField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    class Meta:
        database = db
        table_name = 'whatsapp_cloud_account'

    SECRETS = (
        'access_token',
        'app_secret',
        'webhook_verify_token',
        'responder_secret',
        'former_responder_secret',
    )
    RESPONDER_SECRETS = ('api_key', 'secret')

    @classmethod
    def find(cls, chatbot_id: str) -> Self:
        """The account of a chatbot. Raises NotFound."""
        found = {} if UNSTORABLE.search(chatbot_id) else cls.find_all([chatbot_id])
        if not found:
            raise cls.not_found(chatbot_id)
        return found[chatbot_id]

    @staticmethod
    def not_found(chatbot_id: str) -> NotFound:
        """The error for a chatbot without an account."""
        return NotFound(f'There is no chatbot "{chatbot_id}".', code='unknown_chatbot')

    @classmethod
    def find_all(cls, chatbot_ids: Iterable[str]) -> dict[str, Self]:
        """The accounts that there are of these chatbots, by chatbot_id."""
        rows = fetch_dicts(FIND_ACCOUNTS, {'chatbot_ids': sorted(set(chatbot_ids))})
        return {row['chatbot_id']: cls(**row) for row in rows}

    @classmethod
    def of_graph_id(cls, graph_id: str) -> list[Self]:
        """The accounts that have a phone_number_id, or a waba_id, those that are active first."""
        rows = fetch_dicts(FIND_ACCOUNTS_OF_GRAPH_ID, {'id': graph_id})
        return [cls(**row) for row in rows]

    @classmethod
    def find_active(cls, chatbot_id: str) -> Self:
        """The same for an account that may send. Raises NotFound or BadRequest."""
        account = cls.find(chatbot_id)
        account.require_active()
        return account

    def require_active(self) -> None:
        """Raise BadRequest when it was deactivated."""
        if not self.active:
            sentence = f'The account of chatbot "{self.chatbot_id}" is not active.'
            raise BadRequest(sentence, code='account_inactive')

    @classmethod
    def exists(cls, chatbot_id: str) -> bool:
        found: bool = cls.select().where(cls.chatbot_id == chatbot_id).exists()
        return found

    @classmethod
    def save_from(cls, data: dict[str, Any], seen: Collection[str] | None = None) -> bool:
        """Create or update the account of data['chatbot_id']; what is left out keeps its value.

        A new token makes it active again. `seen`: the chatbots that the caller sees, None for all.
        Returns True when it was created. Raises Conflict when the number belongs to another
        chatbot, or the WABA to one that the caller does not see; Invalid without a token for it.
        """
        row = cls._to_columns(data)
        with db.atomic():
            execute(LOCK_ACCOUNTS)
            if cls._is_number_taken(row):
                sentence = 'The phone_number_id belongs to another chatbot.'
                raise Conflict(sentence, code='number_taken')
            former = cls.get_or_none(chatbot_id=row['chatbot_id'])
            if seen is not None:
                tenant_rules.check_change(row, former, seen)
            cls._request_templates(row)
            row |= responder_secret.former(row, former)
            if cls._update_from(row):
                return False
            cls.insert(row).execute()
            return True

    @classmethod
    def _is_number_taken(cls, row: dict[str, Any]) -> bool:
        is_same_number = cls.phone_number_id == row.get('phone_number_id')
        others = cls.select().where(is_same_number, cls.chatbot_id != row['chatbot_id'])
        taken: bool = others.exists()
        return taken

    @classmethod
    def _update_from(cls, row: dict[str, Any]) -> bool:
        """False when there is no such account."""
        changes = {**row, **responder_state.UNTRIED, 'updated_at': fn.now()}
        if 'phone_number_id' in row:  # another number has another display number
            is_same = cls.phone_number_id == row['phone_number_id']
            changes['display_phone_number'] = Case(None, [(is_same, cls.display_phone_number)])
        return bool(cls.update(changes).where(cls.chatbot_id == row['chatbot_id']).execute())

    @classmethod
    def _request_templates(cls, row: dict[str, Any]) -> None:
        """Ask for a reading of the templates when the WABA or the token is new: it may read more.

        Wake ERRANDS after the commit.
        """
        if row.keys() & {'waba_id', 'access_token'}:
            is_told = 'waba_id' in row
            waba_id = row['waba_id'] if is_told else template.waba_of(row['chatbot_id'])
            template.request_sync([waba_id])

    @classmethod
    def _to_columns(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The columns for what a caller sends; secrets are encrypted, in columns of their own.

        What is null gets its default back, which is null of most.
        """
        row = {
            name: getattr(cls, name).default if value is None else value
            for name, value in data.items()
            if name != 'responder'
        }
        if 'responder' in data:
            responder = dict(data['responder'] or {})
            secrets = [responder.pop(name, None) for name in cls.RESPONDER_SECRETS]
            row['responder'] = responder if data['responder'] else None
            row['responder_secret'] = next(filter(None, secrets), None)
        if 'access_token' in row:
            row['active'] = True
        for name in cls.SECRETS:
            if name in row:
                row[name] = encryption.encrypt(row[name])
        return row

    @property
    def may_send(self) -> bool:
        """The condition MAY_SEND, for an account that has been read."""
        return self.active and self.send_state == 'ok'

    def deactivate(self) -> None:
        """Refuse sends from now on. Hold what is queued as well (sending/holds.py)."""
        execute(DEACTIVATE_ACCOUNT, (self.chatbot_id,))

    def to_dict(self, away: dict[str, outage.Outage] | None = None) -> dict[str, Any]:
        """What a caller sees: no secret, only whether there is one. `away`: outage.current()."""
        has_secret = {'has_secret': self.responder_secret is not None}
        return {
            **{name: getattr(self, name) for name in PUBLIC_COLUMNS},
            **{f'has_{name}': getattr(self, name) is not None for name in self.SECRETS[:3]},
            'responder': self.responder and self.responder | has_secret,
            'retention': self.retention or KEPT,
            **{name: getattr(self, name) for name in STATE_COLUMNS},
            **self._why_not_sent(outage.of_number(self.phone_number_id, away or {})),
        }

    def _why_not_sent(self, away: outage.Outage | None) -> dict[str, Any]:
        """Why nothing is sent, shown like the error of a message: what it means and what to do."""
        if away and self.send_state == 'ok':
            reason = {**away.error, **explain('away')}
            return {
                'send_state': 'away',
                'send_state_reason': reason,
                'send_state_since': away.away_since,
            }
        reason = self.send_state_reason
        if reason:
            reason = {**reason, **explain(reason.get('cause') or reason.get('code'))}
        return {'send_state_reason': reason}


# On the path of every send: Peewee takes as long to compose a query as PostgreSQL to answer it.
FIND_ACCOUNTS = Prepared(
    'SELECT {columns} FROM whatsapp_cloud_account a WHERE a.chatbot_id = ANY(%(chatbot_ids)s)',
    columns=columns_of(Account, 'a'),
)
FIND_ACCOUNTS_OF_GRAPH_ID = Prepared(
    """
SELECT {columns} FROM whatsapp_cloud_account a WHERE a.phone_number_id = %(id)s
UNION ALL
SELECT {columns} FROM whatsapp_cloud_account a
WHERE a.waba_id = %(id)s AND a.phone_number_id <> %(id)s
ORDER BY active DESC, chatbot_id
""",
    columns=columns_of(Account, 'a'),
)
DEACTIVATE_ACCOUNT = """
UPDATE whatsapp_cloud_account SET active = false, updated_at = now() WHERE chatbot_id = %s
"""
HOLD_ACCOUNT = """
UPDATE whatsapp_cloud_account
SET send_state = 'held', send_state_reason = %(reason)s, updated_at = now(),
  send_state_since = CASE send_state WHEN 'held' THEN send_state_since ELSE now() END
WHERE chatbot_id = %(chatbot_id)s AND access_token = coalesce(%(token)s, access_token)
"""
RELEASE_ACCOUNT = """
UPDATE whatsapp_cloud_account
SET send_state = 'ok', send_state_reason = NULL, send_state_since = NULL, updated_at = now()
WHERE chatbot_id = %s
"""


def hold(chatbot_id: str, reason: ErrorDict, access_token: str | None = None) -> bool:
    """Stop the account, which Meta refuses, until it is released.

    False when it has another token than `access_token` by now: nothing is held then. Hold its
    messages as well (sending/holds.py).
    """
    values = {'chatbot_id': chatbot_id, 'reason': json.dumps(reason), 'token': access_token}
    return bool(execute(HOLD_ACCOUNT, values))


def release(chatbot_id: str) -> None:
    """Let the account send again: the cause of its hold is gone."""
    execute(RELEASE_ACCOUNT, (chatbot_id,))
