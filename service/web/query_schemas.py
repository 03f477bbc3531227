"""What each query parameter is, for the OpenAPI document.

Which of them a view takes stands at the view (`query_parameters`).
"""

from service.accounts import health_event
from service.accounts.account import SEND_STATES
from service.billing.usage import PERIODS
from service.events.delivery_list import STATUSES as DELIVERY_STATUSES
from service.events.endpoint import KINDS
from service.events.event_types import TYPES
from service.web.message_answers import STATUSES
from service.web.pagination import LIMIT_DEFAULT, LIMIT_MAX
from service.web.request_input import PARAMETER_MAX
from service.web.responses import JSONObject

TEXT: JSONObject = {'type': 'string', 'maxLength': PARAMETER_MAX}
ID: JSONObject = {'type': 'string', 'format': 'uuid'}
TIME: JSONObject = {'type': 'string', 'format': 'date-time'}
DAY: JSONObject = {'type': 'string', 'format': 'date'}


def words(*choices: str) -> JSONObject:
    return {'type': 'string', 'enum': list(choices)}


YES_OR_NO = words('true', 'false')
Parameter = tuple[JSONObject, str]  # its schema, and what it is
LIMIT: Parameter = (
    {'type': 'integer', 'minimum': 1, 'maximum': LIMIT_MAX, 'default': LIMIT_DEFAULT},
    'How many rows a page has.',
)
PARAMETERS: dict[str, Parameter] = {
    'limit': LIMIT,
    'cursor': (TEXT, 'The `next_cursor` of the page before.'),
    'chatbot_id': (TEXT, 'Whose.'),
    'waba_id': (TEXT, "The WhatsApp Business account, by Meta's id."),
    'conversation_id': (ID, 'Of this conversation, or of one that was merged into it.'),
    'batch_id': (ID, 'Of this bulk.'),
    'direction': (words('inbound', 'outbound'), 'Whose messages.'),
    'status': (TEXT, 'In this state.'),
    'client_reference': (TEXT, "The caller's own name of a message."),
    'wamid': (TEXT, "Meta's id of a message."),
    'to': (TEXT, 'A phone number in whichever form, a business-scoped user id, or a group.'),
    'created_after': (TIME, 'Without the moment itself.'),
    'created_before': (TIME, 'Without the moment itself.'),
    'updated_since': (TIME, 'What changed since then, the oldest change first.'),
    'q': (TEXT | {'maxLength': 200}, 'Words of the text; the last may be a beginning.'),
    'paused': (YES_OR_NO, 'Whether a person has it.'),
    'unanswered': (YES_OR_NO, "Whether the customer's message is the last."),
    'assignee': (TEXT, 'The person who has it.'),
    'since': (TIME, 'In which something was said since then.'),
    'username': (TEXT, 'With or without @.'),
    'phone': (TEXT, 'A phone number in whichever form.'),
    'user_id': (TEXT, 'A business-scoped user id.'),
    'opted_out': (YES_OR_NO, 'Who wants no marketing.'),
    'send_state': (words(*SEND_STATES), 'Whether the account can send.'),
    'field': (words(*health_event.FIELDS), "Of Meta's webhooks."),
    'from': (DAY, 'The first UTC day.'),
    'to_day': (DAY, 'The last UTC day.'),
    'by': (words(*PERIODS) | {'default': 'day'}, 'How long a row is.'),
    'group': (TEXT | {'default': 'category'}, 'A list: `category`, `country`.'),
    'dry_run': (YES_OR_NO, 'Only say how many would be sent, and what it would cost.'),
    'name': (TEXT, 'Of a template.'),
    'language': (TEXT, 'Of a template, like `en_US`.'),
    'category': (TEXT, "Meta's category of a template."),
    'id': (TEXT, "Meta's id of the template."),
    'deep': (words('0', '1'), '1: also whether the workers live and keep up.'),
    'send_at': (TIME, 'When to send.'),
    'expires_at': (TIME, 'Until when to send.'),
    'message': (TEXT, "Meta's send body as JSON, with placeholders for the columns."),
    'text': (TEXT, 'Instead of `message`: a text.'),
    'template': (TEXT, 'Instead of `message`: the name of a template.'),
    'force': (words('true', 'yes', '1', 'false', 'no', '0'), 'Also where the window has closed.'),
    'hub.mode': (words('subscribe'), "Meta's."),
    'hub.verify_token': (TEXT, 'The word that Meta was given.'),
    'hub.challenge': (TEXT, 'What Meta wants to have back.'),
}
# Where a name means something else, by view.
OF_VIEW: dict[tuple[str, str], Parameter] = {
    ('messages.index', 'status'): (words(*STATUSES), 'In this state.'),
    ('audit.index', 'status'): (
        words('received', 'processed', 'failed', 'quarantined'),
        'What became of it.',
    ),
    ('usage.show', 'to'): PARAMETERS.pop('to_day'),
    ('stats.show', 'from'): (TEXT, 'The first UTC day, or a time.'),
    ('stats.show', 'to'): (TEXT, 'The last UTC day, or a time that ends it.'),
    ('stats.show', 'by'): (words('hour', 'day') | {'default': 'day'}, 'What a row stands for.'),
    ('endpoints.index', 'kind'): (words(*KINDS), 'What they get.'),
    ('endpoints.deliveries', 'status'): (words(*DELIVERY_STATUSES), 'What became of them.'),
    ('events.index', 'after'): (TEXT, 'Behind this id; `now`: what has not happened yet.'),
    ('events.index', 'type'): (words(*TYPES), 'Of this type.'),
    ('events.index', 'wait'): (
        {'type': 'integer', 'minimum': 0, 'maximum': 20, 'default': 0},
        'Wait so many seconds when there is none.',
    ),
    ('accounts.index', 'cursor'): (TEXT, 'The `next_cursor` of the page before.'),
}
# A view cannot do without them.
REQUIRED = {
    ('usage.show', 'chatbot_id'),
    ('templates.show', 'language'),
    ('templates.delete', 'chatbot_id'),
}
