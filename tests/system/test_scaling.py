"""What docs/scaling.md says of spreading the tables over databases stays true: what ties them
together is listed there, and nothing is added unnoticed.
"""

import re

from tests.stack import ROOT
from tests.system.test_plans import STATEMENTS

LISTED = (
    (ROOT / 'docs' / 'scaling.md')
    .read_text()
    .partition('### Statements that name neither a chatbot nor a number')[2]
)
SEQUENCES = re.compile(r'\b(?:GENERATED \w+ AS IDENTITY|serial|bigserial|CREATE SEQUENCE)\b')
TABLE = re.compile(r'^CREATE TABLE (\w+) \((.*?)^\)', re.MULTILINE | re.DOTALL)
# A condition on whose rows they are, or an INSERT that says so of each.
OWNER = r'\b(?:chatbot_id|phone_number_id|waba_id|scope)\b'
NAMES_OWNER = re.compile(
    rf'{OWNER} (?:=|<>|>|IN\b)|USING \({OWNER}|\(i\.{OWNER}|\({OWNER}(?:, \w+)*\) WHERE\b'
    rf'|INSERT INTO \w+ \([^)]*{OWNER}|CONFLICT \({OWNER}'
)


def name_of(key):
    """`module.CONSTANT` of a statement; those of a dict share one."""
    return key.split()[0]


def test_statements_that_name_neither_chatbot_nor_number_are_listed():
    unnamed = {name_of(key) for key, text in STATEMENTS.items() if not NAMES_OWNER.search(text)}
    listed = set(re.findall(r'`(\w+\.[A-Z_]+)`', LISTED))
    assert unnamed - listed == set()
    assert listed - {name_of(key) for key in STATEMENTS} == set()


def test_a_statement_that_goes_by_ids_alone_is_found():
    assert NAMES_OWNER.search('SELECT 1 FROM message WHERE chatbot_id = %s AND id = %s')
    assert NAMES_OWNER.search('INSERT INTO message (id, chatbot_id) SELECT * FROM n')
    assert not NAMES_OWNER.search('SELECT chatbot_id FROM message WHERE id = ANY(%s)')


def test_tables_share_no_sequence_but_two():
    """Ids are made by the processes: a sequence would have to be asked by all of them."""
    schema = (ROOT / 'schema.sql').read_text()
    found = {name for name, columns in TABLE.findall(schema) if SEQUENCES.search(columns)}
    assert found == {'message_status', 'message_fact'}
    assert len(SEQUENCES.findall(schema)) == len(found)
