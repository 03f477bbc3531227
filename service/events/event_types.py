"""Pure: the types of events that an endpoint may ask for, as docs/events.md explains them."""

MESSAGES = ('message.received', 'message.changed', 'message.status')
FILES = ('media.stored', 'media.failed')
CONVERSATIONS = (
    'conversation.paused',
    'conversation.resumed',
    'reply.failed',
    'reply.limited',
)
CONTACTS = ('contact.changed', 'contact.opted_out', 'contact.opted_in')
ACCOUNTS = ('template.changed', 'account.held', 'account.released', 'account.health')
BATCHES = ('batch.done', 'batch.paused', 'budget.reached')
TEST = 'endpoint.test'
TYPES = (*MESSAGES, *FILES, *CONVERSATIONS, *CONTACTS, *ACCOUNTS, *BATCHES, TEST)
