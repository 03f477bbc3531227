"""What is fixed at the start (flags, environment) and what tests change while it runs
(`/control/config`).
"""

import argparse
import os
from dataclasses import asdict, dataclass, field, fields

APP_ID = '670843887433847'
WEBHOOK_FIELDS = (
    'messages',
    'message_template_status_update',
    'message_template_quality_update',
    'message_template_components_update',
    'template_category_update',
    'user_preferences',
    'account_update',
    'phone_number_quality_update',
    'phone_number_name_update',
    'business_capability_update',
)  # that the app is subscribed to
SECRETS = ('api_key', 'app_secret', 'responder_secret', 'tokens', 'verify_token')


@dataclass(frozen=True, slots=True)
class Number:
    """A business number, and where its webhooks go (Meta: the number's override wins over the app's
    callback).
    """

    phone_number_id: str
    display_phone_number: str
    waba_id: str
    webhook_url: str
    app_secret: str


@dataclass(slots=True)
class Config:
    """Run-time settings, all times in seconds."""

    latency: float = 0.05
    strict: bool = True
    webhooks: bool = True
    webhook_url: str = ''
    app_secret: str = ''
    verify_token: str = ''
    tokens: list = field(
        default_factory=list
    )  # none: every token is valid that does not begin with EXPIRED
    numbers: dict = field(default_factory=dict)  # phone_number_id -> any of Number's other fields
    number_facts: dict = field(default_factory=dict)  # fields of every number that are otherwise
    unknown_fields: list = field(default_factory=list)  # of a number, to this version of the API
    token_facts: dict = field(default_factory=dict)  # what debug_token says otherwise
    app_id: str = APP_ID
    subscribed_apps: list = field(default_factory=lambda: [APP_ID])
    webhook_fields: list = field(default_factory=lambda: list(WEBHOOK_FIELDS))
    status_delay: float = 0.2
    statuses: list = field(default_factory=lambda: ['sent', 'delivered', 'read'])
    status_batch: int = 1
    status_double: bool = False
    status_shuffle: bool = False
    status_before_answer: bool = False
    status_opaque: bool = True
    answer_both_ids: bool = False
    retry_after: float | None = None
    regain_minutes: float | None = None
    template_page: int = 100  # templates in a page at most
    template_error: int = 0  # Graph code that answers every call for templates
    media_url_ttl: float = 300.0
    upload_error: int = 0  # the code that uploads of media are refused with
    upload_rate: float = 0.0  # bytes per second that they are read with, 0: at once
    ai_latency: float = 0.0
    responder_latency: float = 0.0
    responder_secret: str = ''
    gateway_url: str = ''  # where the platform's service sends what it answers later
    api_key: str = ''

    def merge(self, changes: dict) -> list[str]:
        """Takes all of `changes` or, if one is wrong, none; returns what is wrong."""
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        wrong = [f'{name}: unknown' for name in changes if name not in known]
        wrong += [
            f'{name}: wrong type'
            for name in changes
            if name in known and not fits(name, changes[name])
        ]
        if not wrong:
            for name, value in changes.items():
                setattr(self, name, value)
        return wrong

    def shown(self) -> dict:
        return {
            name: '(set)' if name in SECRETS and value else value
            for name, value in asdict(self).items()
        }


def fits(name: str, value: object) -> bool:
    """Whether a value may be merged: like the default's type, a whole number also where a float is
    meant.
    """
    if name in ('retry_after', 'regain_minutes'):
        return value is None or is_number(value)
    if name == 'status_batch':
        return is_number(value) and 1 <= value <= 1000
    wanted = type(getattr(Config(), name))
    return is_number(value) and value >= 0 if wanted is float else type(value) is wanted


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; each flag's default may come from SIMULATOR_<FLAG>."""
    parser = argparse.ArgumentParser(prog='python -m tests.simulator', description=__doc__)
    for flag, default, kind, text in (
        ('host', '127.0.0.1', str, 'address to listen on'),
        ('port', '9090', int, 'port to listen on, 0 for any'),
        ('webhook-url', '', str, "where the gateway takes Meta's webhooks"),
        ('app-secret', '', str, 'signs the webhooks'),
        ('verify-token', '', str, 'for the verification GET (POST /control/verify)'),
        ('latency', '0.05', float, 'seconds that a Graph call takes'),
        ('phone-number-id', '300112233445566', str, 'the business number that customers write to'),
        ('display-phone-number', '15550104477', str, 'that number, as people see it'),
        ('waba-id', '880011223344556', str, 'the WhatsApp business account'),
        ('gateway-url', '', str, 'shown on the phone page; answers that come later go there'),
        ('api-key', '', str, 'shown on the phone page'),
    ):
        parser.add_argument(f'--{flag}', default=environment(flag, default), type=kind, help=text)
    parser.add_argument('--token', action='append', help='a valid access token; repeatable')
    parsed = parser.parse_args(argv)
    parsed.token = parsed.token or [token for token in environment('token', '').split(',') if token]
    return parsed


def environment(flag: str, default: str) -> str:
    return os.environ.get('SIMULATOR_' + flag.upper().replace('-', '_'), default)
