"""All that the simulator knows, in one object.

Plain lists and dicts, gone when the process ends.
"""

import argparse
from collections import deque

from aiohttp import web

from .chats import Chats, Customers
from .media import Media
from .sends import Sends
from .settings import Config, Number
from .statuses import Statuses
from .templates import Templates
from .webhook import Webhook

LOG_LENGTH = 1000


class Simulator:
    def __init__(self, flags: argparse.Namespace) -> None:
        self.flags = flags
        self.chats = Chats()
        self.webhook = Webhook(self.chats)
        self.statuses = Statuses(self)
        self.forget()

    def forget(self) -> None:
        """Back to how it started, also the run-time settings."""
        self.config = self.initial_config()
        self.sends, self.customers = Sends(), Customers()
        self.media, self.templates = Media(), Templates()
        self.stopped: set[str] = set()  # who wants no marketing: wa_id and user_id of each
        self.attempts: dict[tuple, int] = {}  # how often a magic message was refused
        self.reads: deque = deque(maxlen=LOG_LENGTH)
        self.ai_asks: deque = deque(maxlen=LOG_LENGTH)
        self.ai_failures: dict[tuple, int] = {}
        self.responder_asks: deque = deque(maxlen=LOG_LENGTH)
        self.statuses.forget()
        self.webhook.forget()
        self.chats.forget()

    def initial_config(self) -> Config:
        flags = self.flags
        return Config(
            latency=flags.latency,
            webhook_url=flags.webhook_url,
            app_secret=flags.app_secret,
            verify_token=flags.verify_token,
            tokens=list(flags.token),
            gateway_url=flags.gateway_url,
            api_key=flags.api_key,
        )

    def number(self, phone_number_id: str | None = None) -> Number:
        """The business number with its overrides; every number there might be exists."""
        phone_number_id = phone_number_id or self.flags.phone_number_id
        known = {
            'phone_number_id': phone_number_id,
            'display_phone_number': self.flags.display_phone_number,
            'waba_id': self.flags.waba_id,
            'webhook_url': self.config.webhook_url,
            'app_secret': self.config.app_secret,
        }
        return Number(**known | self.config.numbers.get(phone_number_id, {}))

    def token_is_valid(self, token: str) -> bool:
        if self.config.tokens:
            return token in self.config.tokens
        return bool(token) and not token.startswith('EXPIRED')


SIMULATOR = web.AppKey('simulator', Simulator)
