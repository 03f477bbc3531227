"""Events as the triggers write them, without what they tell of."""

from tests.people import CHATBOT, sql

PUBLISH = """SELECT publish(%s, %s, NULL, NULL, '{"batch_id": null}')"""


def publish(count=1, type_='batch.done', chatbot_id=CHATBOT):
    for _ in range(count):
        sql(PUBLISH, type_, chatbot_id)


def event_ids():
    return [id_ for (id_,) in sql('SELECT id FROM event ORDER BY id')]
