"""Accounts: one chatbot, its number, its token and its responder."""

import json

from peewee import BooleanField, DateTimeField, IntegerField, Model, TextField, Value

from service.graph import outage
from service.graph.error_codes import explain
from service.runtime import encryption
from service.runtime.db import columns, db, execute, fetch, fetch_dicts
from service.runtime.errors import BadRequest, Conflict, Invalid, NotFound
from service.runtime.model import JSON
from service.runtime.untrusted import UNSTORABLE
from service.templates import template

# On the path of every send: composing a query of Peewee's costs as much as PostgreSQL takes to
# answer it.
FIND = 'SELECT * FROM whatsapp_cloud_account WHERE chatbot_id = %s'

# Another number is another one to people, too.
FORGET = 'display_phone_number = CASE phone_number_id WHEN coalesce(%s, phone_number_id) THEN display_phone_number END'


# In SQL, of an account `a`: whether its messages may leave. While Meta is away (graph/outage.py)
# they stay queued.
MAY_SEND = "a.active AND a.send_state = 'ok'"
SEND_STATES = ('ok', 'held', 'away')  # the last one stands in service/graph/outage.py


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
    active = BooleanField(default=True)
    send_state = TextField(default='ok')
    send_state_reason = JSON(null=True)
    send_state_since = DateTimeField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    class Meta:
        database = db
        table_name = 'whatsapp_cloud_account'

    SECRETS = ('access_token', 'app_secret', 'webhook_verify_token', 'responder_secret')
    RESPONDER_SECRETS = ('api_key', 'secret')

    @classmethod
    def find(cls, chatbot_id):
        rows = [] if UNSTORABLE.search(chatbot_id) else fetch_dicts(FIND, (chatbot_id,))
        if not rows:
            raise NotFound(f'There is no chatbot "{chatbot_id}".', code='unknown_chatbot')
        return cls(**rows[0])

    @classmethod
    def find_active(cls, chatbot_id):
        account = cls.find(chatbot_id)
        if not account.active:
            raise BadRequest(
                f'The account of chatbot "{chatbot_id}" is not active.', code='account_inactive'
            )
        return account

    @classmethod
    def newest(
        cls, send_state: str | None = None, after: str | None = None, limit: int = 50
    ) -> list['Account']:
        """Accounts, the newest first, those behind the chatbot_id `after`."""
        query = cls.select().order_by(cls.created_at.desc(), cls.chatbot_id).limit(limit)
        if send_state:
            query = cls._in_state(query, send_state)
        if after:
            last = cls.get_or_none(cls.chatbot_id == after)
            if last is None:
                raise Invalid('cursor is not valid.', {'cursor': ['Not a cursor of ours.']})
            same_time = (cls.created_at == last.created_at) & (cls.chatbot_id > after)
            query = query.where((cls.created_at < last.created_at) | same_time)
        return list(query)

    @classmethod
    def _in_state(cls, query, send_state):
        if send_state == 'held':
            return query.where(cls.send_state == 'held')
        away = outage.now_away()
        numbers = [row['phone_number_id'] for row in away.values()]
        is_away = (cls.phone_number_id.in_(numbers)) | Value(outage.ALL in away)
        return query.where(cls.send_state == 'ok', is_away if send_state == 'away' else ~is_away)

    @classmethod
    def exists(cls, chatbot_id):
        return cls.select().where(cls.chatbot_id == chatbot_id).exists()

    @classmethod
    def save_from(cls, data):
        """Create or update by chatbot_id; what is left out keeps its value.

        A token reconnects: active again.

        Returns True when it was created. Raises Conflict when the number belongs to another
        chatbot.
        """
        row = cls._columns(data)
        names = ', '.join(row)
        changes = ', '.join(f'{name} = %s' for name in row)
        with db.atomic():
            execute(
                'SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))', ('accounts',)
            )  # one at a time: no race for a number
            if (
                cls.select()
                .where(
                    cls.phone_number_id == row.get('phone_number_id'),
                    cls.chatbot_id != row['chatbot_id'],
                )
                .exists()
            ):
                raise Conflict(
                    'The phone_number_id belongs to another chatbot.', code='number_taken'
                )
            cls._read_templates(row)
            update = f'UPDATE whatsapp_cloud_account SET {changes}, {FORGET}, updated_at = now() WHERE chatbot_id = %s'  # noqa: S608
            if execute(update, (*row.values(), row.get('phone_number_id'), row['chatbot_id'])):
                return False
            places = ', '.join(['%s'] * len(row))
            execute(
                f'INSERT INTO whatsapp_cloud_account ({names}) VALUES ({places})',
                list(row.values()),
            )  # noqa: S608
            return True

    @classmethod
    def _read_templates(cls, row):
        """Another WABA, or another token that may read more: its templates are due.

        Wake ERRANDS afterwards.
        """
        if row.keys() & {'waba_id', 'access_token'}:
            is_told = 'waba_id' in row
            waba_id = row['waba_id'] if is_told else template.waba_of(row['chatbot_id'])
            template.request_sync([waba_id])

    @classmethod
    def _columns(cls, data):
        row = {name: value for name, value in data.items() if name != 'responder'}
        if 'responder' in data:
            responder = dict(data['responder'] or {})
            secrets = [responder.pop(name, None) for name in cls.RESPONDER_SECRETS]
            row['responder'] = json.dumps(responder) if data['responder'] else None
            row['responder_secret'] = next(filter(None, secrets), None)
        for name in ('opt_out_words', 'opt_in_words'):
            if row.get(name) is not None:
                row[name] = json.dumps(row[name])
        if 'access_token' in row:
            row['active'] = True
        for name in cls.SECRETS:
            if name in row:
                row[name] = encryption.encrypt(row[name])
        return row

    @property
    def may_send(self):
        """MAY_SEND, of a row that has been read."""
        return self.active and self.send_state == 'ok'

    def deactivate(self):
        """Sends are refused from now on. Hold what is queued as well (sending/holds.py)."""
        execute(
            'UPDATE whatsapp_cloud_account SET active = false, updated_at = now() WHERE chatbot_id = %s',
            (self.chatbot_id,),
        )

    def to_dict(self, away=None):
        """What a caller sees: no secret, only whether there is one. `away`: outage.now_away()."""
        shown = (
            'chatbot_id',
            'phone_number_id',
            'display_phone_number',
            'waba_id',
            'name',
            'max_mps',
            'on_unknown',
            'read_receipts',
            'opt_out_words',
            'opt_in_words',
            'active',
        )
        later = ('send_state', 'send_state_reason', 'send_state_since', 'created_at', 'updated_at')
        return {
            **{name: getattr(self, name) for name in shown},
            **{f'has_{name}': getattr(self, name) is not None for name in self.SECRETS[:3]},
            'responder': self.responder
            and {**self.responder, 'has_secret': self.responder_secret is not None},
            **{name: getattr(self, name) for name in later},
            **self._why_not_sent(outage.of_number(self.phone_number_id, away or {})),
        }

    def _why_not_sent(self, away: dict | None) -> dict:
        """Why nothing is sent, as the error of a message is shown: with what it means and what to
        do.
        """
        if away and self.send_state == 'ok':
            reason = {**away['error'], **explain('away')}
            return {
                'send_state': 'away',
                'send_state_reason': reason,
                'send_state_since': away['away_since'],
            }
        reason = self.send_state_reason
        return {
            'send_state_reason': reason
            and {**reason, **explain(reason.get('cause') or reason.get('code'))}
        }


HOLD = """
UPDATE whatsapp_cloud_account SET send_state = 'held', send_state_reason = %(reason)s, updated_at = now(),
  send_state_since = CASE send_state WHEN 'held' THEN send_state_since ELSE now() END
WHERE chatbot_id = %(chatbot)s AND access_token = coalesce(%(token)s, access_token)
"""
RELEASE = """
UPDATE whatsapp_cloud_account
SET send_state = 'ok', send_state_reason = NULL, send_state_since = NULL, updated_at = now()
WHERE chatbot_id = %s
"""


def hold(chatbot_id, reason, access_token=None):
    """Meta refuses the account.

    False when it has another token by now; else hold its messages (sending/holds.py).
    """
    return bool(
        execute(HOLD, {'chatbot': chatbot_id, 'reason': json.dumps(reason), 'token': access_token})
    )


def release(chatbot_id):
    """Whatever held the account is mended."""
    execute(RELEASE, (chatbot_id,))


def speaks_for(chatbot_id, waba_id):
    """Whether an app of its own may speak of this WABA: who knows its secret could else stop or
    start others' sends.
    """
    mine = 'SELECT 1 FROM whatsapp_cloud_account WHERE chatbot_id = %s AND waba_id = %s'
    return bool(fetch(mine, (chatbot_id, waba_id)))


LEARN = """
UPDATE whatsapp_cloud_account a SET display_phone_number = coalesce(a.display_phone_number, n.display),
  waba_id = coalesce(a.waba_id, n.waba), updated_at = now()
FROM unnest(%s::text[], %s::text[], %s::text[]) AS n (chatbot, display, waba) WHERE a.chatbot_id = n.chatbot
"""


def learn(items):
    """What nobody told us of an account, and Meta does in the items of a batch.

    No statement without news.

    The templates of a WABA that nobody knew are read at the clock's next look.
    """
    news = {item.account.chatbot_id: _news(item) for item in items}
    rows = [(chatbot_id, *new) for chatbot_id, new in sorted(news.items()) if any(new)]
    if rows:
        template.request_sync({waba_id for _, _, waba_id in rows})
        execute(LEARN, columns(rows))
        template.request_sync({waba_id for _, _, waba_id in rows})


def _news(item):
    """(display_phone_number, waba_id), None where there is none.

    An app of its own could name somebody else's WABA.
    """
    account = item.account
    display = None if account.display_phone_number else item.display_phone_number
    return display, None if account.waba_id or account.own_app else item.waba_id
