"""Pure: which recipient makes Meta misbehave how. The table for people is in README.md."""

import re
from dataclasses import dataclass
from enum import Enum


class Answer(Enum):
    OK = 'ok'
    ERROR = 'error'  # a Graph error, nothing accepted
    LOST = 'lost'  # accepted, but the connection closes without an answer
    RESET = 'reset'  # nothing accepted, the connection is reset
    HTML = 'html'  # nothing accepted, HTTP 500 with a page of HTML
    NO_ID = 'no_id'  # accepted, 200 without `messages`


class Statuses(Enum):
    USUAL = 'usual'
    NONE = 'none'
    BEFORE_ANSWER = 'before_answer'
    DOUBLED_REVERSED = 'doubled_reversed'
    FAILED = 'failed'


@dataclass(frozen=True, slots=True)
class Behaviour:
    answer: Answer = Answer.OK
    statuses: Statuses = Statuses.USUAL
    code: int | None = None  # of the Graph error, or of the failed status
    times: int = 0  # how often, 0 means always
    delay: float | None = None  # seconds until the answer, instead of the configured latency


ORDINARY = Behaviour()

# Up to four digits more are allowed and mean nothing: they make many recipients of one kind.
MAGIC = re.compile(r'(199[789])(\d{6})(\d)\d{0,4}')

DISTURBED = {
    '1': Behaviour(Answer.LOST),
    '2': Behaviour(Answer.LOST, Statuses.NONE),
    '3': Behaviour(Answer.RESET, Statuses.NONE),
    '5': Behaviour(Answer.HTML, Statuses.NONE),
    '6': Behaviour(Answer.NO_ID),
    '7': Behaviour(statuses=Statuses.BEFORE_ANSWER),
    '8': Behaviour(statuses=Statuses.DOUBLED_REVERSED),
    '9': Behaviour(statuses=Statuses.NONE),
}


def behaviour(recipient_digits: str) -> Behaviour:
    """What the digits of `to` (or of a BSUID, after its dot) ask for."""
    if not recipient_digits.startswith('199') or not (match := MAGIC.fullmatch(recipient_digits)):
        return ORDINARY
    family, parameter, last = match.groups()
    if family == '1999':
        return Behaviour(Answer.ERROR, code=int(parameter), times=int(last))
    if family == '1997':
        return Behaviour(statuses=Statuses.FAILED, code=int(parameter), times=int(last))
    if last == '4':
        return Behaviour(delay=int(parameter) / 1000)
    return DISTURBED.get(last, ORDINARY)
