"""What GET /stats answers."""

from service.web.answer_fields import Answer, many, moment, number, part, string, whole, word

COUNTERS = {
    'in': whole('Messages from customers.'),
    'out': whole('Messages to customers, those written on the business phone among them.'),
    'accepted': whole('Of them: Meta has taken them.'),
    'sent': whole('Of them: sent, or further.'),
    'delivered': whole('Of them: delivered, or further.'),
    'read': whole('Of them: read.'),
    'failed': whole('Of them: failed for good.'),
}
Counts = type('StatsCounts', (Answer,), {'__doc__': 'How many messages.', **COUNTERS})
Point = type(
    'StatsPoint',
    (Answer,),
    {'__doc__': 'An hour, or a UTC day.', 'at': moment('Its beginning.'), **COUNTERS},
)


class StatsFailure(Answer):
    """Messages that failed for one reason."""

    code = string("Meta's code, or our own word.", example='131026')
    count = whole()
    explanation = string('What it means.')
    fix = string('What to do.')


class StatsSeconds(Answer):
    """How long it took; null when there was nothing to measure."""

    median = number(null=True)
    p95 = number('95 of 100 took less.', null=True)


class StatsWaiting(Answer):
    count = whole()
    oldest_seconds = number(null=True)


class StatsCost(Answer):
    category = string("Meta's pricing category.", null=True)
    cost = number(null=True)
    currency = string(null=True, example='USD')


# Two of the names are taken in Python, or by marshmallow.
Stats = type(
    'Stats',
    (Answer,),
    {
        '__doc__': 'What happened, by the time at which each message was stored; what waits now.',
        'from': moment('Counted from then on,'),
        'to': moment('up to, and without, then.'),
        'by': word('hour', 'day'),
        'chatbot_id': string('Whose; null: of all that the key sees.', null=True),
        'data': many(Point),
        'total': part(Counts),
        'failures': many(StatsFailure, 'The most frequent first.'),
        'reply_seconds': part(StatsSeconds, "From a customer's message until Meta took the reply."),
        'send_seconds': part(StatsSeconds, 'From a message to be sent until Meta took it.'),
        'waiting': part(StatsWaiting, 'What is to be sent now.'),
        'unknown': whole('Messages that left and got no answer.'),
        'held': whole('Messages that cannot be sent for now.'),
        'cost': many(StatsCost),
    },
)
