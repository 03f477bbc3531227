"""Status webhooks: which of them, when, in what order and how many to a POST."""

import asyncio
import random
import time
from dataclasses import dataclass

from . import magic
from .chats import Customer
from .envelopes import change, contact, envelope, unix_seconds
from .error_codes import webhook_error
from .settings import Number

SERVICE_BILLED_SINCE = (
    1790812800  # 2026-10-01: until then a message without a template was free within 24 hours
)
FLUSH_EVERY = 0.05  # seconds that a batch waits for company


@dataclass(slots=True)
class Receipt:
    """An accepted message, as far as its statuses are concerned."""

    number: Number
    customer: Customer
    wamid: str
    opaque: str | None
    kind: str
    by_user_id: bool
    group_id: str | None
    entry: dict  # of the chat
    unreachable_link: bool = False


@dataclass(slots=True)
class Status:
    receipt: Receipt
    name: str
    timestamp: str
    code: int | None = None


class Statuses:
    def __init__(self, simulator) -> None:
        self.simulator = simulator
        self.waiting: dict[tuple[str, str], list[Status]] = {}
        self.timers: set[asyncio.TimerHandle] = set()
        self.failed: dict[str, int] = {}

    def forget(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        self.waiting.clear()
        self.failed.clear()

    def schedule(self, receipt: Receipt, plan: magic.Behaviour) -> None:
        """Each status `status_delay` after the one before, counted from now."""
        delay = self.simulator.config.status_delay
        for turn, statuses in enumerate(self.planned(receipt, plan), start=1):
            for status in statuses:
                self.later(delay * turn, self.emit, status)

    async def before_answer(self, receipt: Receipt, plan: magic.Behaviour) -> None:
        """All statuses at once, and on until the gateway answered them or 5 s have passed."""
        statuses = [status for group in self.planned(receipt, plan) for status in group]
        size = self.simulator.config.status_batch
        posts = [self.post(statuses[at : at + size]) for at in range(0, len(statuses), size)]
        tasks = [self.simulator.webhook.spawn(post) for post in posts]
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    def planned(self, receipt: Receipt, plan: magic.Behaviour) -> list[list[Status]]:
        """The message's statuses in the order they leave; a doubled one is a list of two."""
        config = self.simulator.config
        if not config.webhooks or plan.statuses is magic.Statuses.NONE:
            return []
        if plan.statuses is magic.Statuses.FAILED and self.fails(receipt, plan):
            return [[Status(receipt, 'failed', unix_seconds(), plan.code)]]
        if receipt.unreachable_link:
            return [[Status(receipt, 'failed', unix_seconds(), 131053)]]
        statuses = natural(receipt, config)
        if plan.statuses is magic.Statuses.DOUBLED_REVERSED:
            statuses.reverse()
        elif config.status_shuffle:
            shuffle(statuses)
        doubled = config.status_double or plan.statuses is magic.Statuses.DOUBLED_REVERSED
        return [[status] * (1 + doubled) for status in statuses]

    def fails(self, receipt: Receipt, plan: magic.Behaviour) -> bool:
        """Whether this is one of the recipient's first `plan.times` messages."""
        chat = receipt.customer.chat
        self.failed[chat] = self.failed.get(chat, 0) + 1
        return plan.times == 0 or self.failed[chat] <= plan.times

    def later(self, delay: float, call, *args) -> None:
        def run() -> None:
            self.timers.discard(timer)
            call(*args)

        timer = asyncio.get_running_loop().call_later(delay, run)
        self.timers.add(timer)

    def emit(self, status: Status) -> None:
        """Alone at once, or into the batch for the same webhook."""
        config, spawn = self.simulator.config, self.simulator.webhook.spawn
        if config.status_batch <= 1:
            spawn(self.post([status]))
            return
        number = status.receipt.number
        target = (number.webhook_url, number.app_secret)
        batch = self.waiting.setdefault(target, [])
        batch.append(status)
        if len(batch) >= config.status_batch:
            self.flush(target)
        elif len(batch) == 1:
            self.later(FLUSH_EVERY, self.flush, target)

    def flush(self, target: tuple[str, str]) -> None:
        if batch := self.waiting.pop(target, None):
            if self.simulator.config.status_shuffle:
                shuffle(batch)
            self.simulator.webhook.spawn(self.post(batch))

    async def post(self, batch: list[Status]) -> None:
        """One POST for all of `batch`: one change each, as Meta's batches have it."""
        number = batch[0].receipt.number
        if not number.webhook_url:
            return
        target = (number.webhook_url, number.app_secret)
        what = f'status {batch[0].name}' if len(batch) == 1 else f'{len(batch)} statuses'
        # The page shows a status when it leaves, not only when the gateway has answered.
        shown = [self.show(status) for status in batch]
        await self.simulator.webhook.deliver(
            body_of(batch, opaque=self.simulator.config.status_opaque),
            target,
            what,
            len(batch),
            lambda answer: self.answered(batch, shown, answer),
        )

    def show(self, status: Status) -> dict:
        line = {'status': status.name, 'code': status.code, 'at': time.time(), 'gateway_status': 0}
        status.receipt.entry['statuses'].append(line)
        self.tell(status)
        return line

    def answered(self, batch: list[Status], shown: list[dict], answer: int | None) -> None:
        for status, line in zip(batch, shown, strict=True):
            line['gateway_status'] = answer
            self.tell(status)

    def tell(self, status: Status) -> None:
        receipt = status.receipt
        self.simulator.chats.tell(receipt.customer.chat, 'message', receipt.entry)


def natural(receipt: Receipt, config) -> list[Status]:
    """The configured statuses with the times at which they really came about."""
    now = time.time()
    return [
        Status(
            receipt,
            name,
            unix_seconds(now + config.status_delay * turn),
            131026 if name == 'failed' else None,
        )
        for turn, name in enumerate(config.statuses)
    ]


def shuffle(statuses: list) -> None:
    """Any order but the one it has."""
    if len(statuses) > 1:
        before = list(statuses)
        random.shuffle(statuses)
        if statuses == before:
            statuses.append(statuses.pop(0))


def body_of(batch: list[Status], *, opaque: bool) -> dict:
    changes: dict[str, list] = {}
    for status in batch:
        number = status.receipt.number
        item = change(number, contacts_of(status), statuses=[item_of(status, opaque=opaque)])
        changes.setdefault(number.waba_id, []).append(item)
    return envelope(changes)


def contacts_of(status: Status) -> list | None:
    """Not with failed; a username only with delivered and read (section 3)."""
    if status.name == 'failed':
        return None
    receipt = status.receipt
    return [
        contact(
            receipt.customer,
            username=status.name in ('delivered', 'read'),
            phone=not receipt.by_user_id,
        )
    ]


def item_of(status: Status, *, opaque: bool) -> dict:
    receipt = status.receipt
    item = {'id': receipt.wamid, 'status': status.name, 'timestamp': status.timestamp}
    item |= recipient_of(receipt)
    if status.name in ('sent', 'delivered'):
        item['pricing'] = pricing(receipt.kind, status.timestamp)
    if status.code is not None:
        item['errors'] = [webhook_error(status.code)]
    if opaque and receipt.opaque is not None:
        item['biz_opaque_callback_data'] = receipt.opaque
    return item


def recipient_of(receipt: Receipt) -> dict:
    customer = receipt.customer
    if receipt.group_id:
        return {
            'recipient_id': receipt.group_id,
            'recipient_type': 'group',
            'recipient_participant_id': customer.wa_id,
            'recipient_participant_user_id': customer.user_id,
        }
    if receipt.by_user_id:
        return {'recipient_user_id': customer.user_id}
    return {'recipient_id': customer.wa_id, 'recipient_user_id': customer.user_id}


def pricing(kind: str, timestamp: str) -> dict:
    """Templates have their price; all else is billed as service since SERVICE_BILLED_SINCE."""
    is_billed = kind == 'template' or int(timestamp) >= SERVICE_BILLED_SINCE
    return {
        'billable': is_billed,
        'pricing_model': 'PMP',
        'category': 'utility' if kind == 'template' else 'service',
        'type': 'regular' if is_billed else 'free_customer_service',
    }
