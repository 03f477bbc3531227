"""The core of the gateway and its HTTP API: a package for each noun of the field.

The row is the work, the queue is the bell: what has to be done is a committed row with a state and
a due time; a job in Redis only wakes a worker. The packages, in the order in which they may import
each other (each only those above it):

    runtime       What every process stands on: settings, the database, Redis, logs, time limits;
                  knows no message and no account.
    content       Pure: Meta's vocabulary. What may be sent, what a phone number or a file is,
                  what a message says in plain text.
    graph         The client of Meta's Graph API, what its answers mean, and whether Meta is there
                  at all.
    templates     Message templates as Meta knows them: kept in step, checked against a send,
                  shown as text.
    conversations People and their conversations: who is who, when they wrote, what they want,
                  when a reply is due.
    accounts      Accounts: one chatbot, its number, its secrets, and what Meta says of their
                  health.
    media         Files: fetched from Meta, taken from callers, kept in a directory or a bucket.
    messages      Messages as rows, and what belongs to one: statuses, relations, echoes,
                  receipts.
    billing       What messages cost: the ledger by the day, the rate card, budgets.
    stats         What happened, by the hour: the roll-up and its sums.
    sending       The journey out: what may go, when and to whom; claims, rates, holds, results,
                  statuses; bulk.
    replies       Asking who answers: the history that a responder sees, the call, what its answer
                  means.
    webhooks      The journey in: Meta's webhooks as events, items, and the rows that they become.
    events        The platform is told: endpoints, events and their deliveries, Meta's webhooks
                  passed on.
    jobs          Every kind of due work on one screen: its queue, who claims, does and records it,
                  when the next is due.
    privacy       How long what is kept, and one person's data: erased, exported.
    doctor        What is not as it should be, and how to mend it.
    web           The HTTP API. The only room that knows Flask and gunicorn.

A customer writes: web (door, webhook) -> webhooks (inbox, process, payload, routing,
messages_field) -> conversations, messages; later workers.replies -> replies -> sending (outbox).

The backend sends: web (messages) -> sending (submit, send_policy, outbox), a row `queued`; then
workers.send -> sending (dispatch) -> graph -> sending (send_outcome, escalation); Meta's statuses
come in by webhooks -> sending (delivery_status, status_change). A client of Meta's own API comes in
by web (graph_messages), and waits there (waiting_calls) for what sending (awaited_answer) knows.
"""

# From the bottom up; tests/system/test_layout.py holds every import against it.
PACKAGES = (
    'runtime',
    'content',
    'graph',
    'templates',
    'conversations',
    'accounts',
    'media',
    'messages',
    'billing',
    'stats',
    'sending',
    'replies',
    'webhooks',
    'events',
    'jobs',
    'privacy',
    'doctor',
    'web',
)
