"""Pure: the text for the customer in a chat-completions answer, and never the model's thinking.

Servers differ: `content` is a text or a list of parts, the thinking stands in fields of its own or
in the middle of the text, a refusal has its own field, and an error may come with status 200.
"""

import re
from typing import Any

from service.billing.ledger import AIUsage
from service.replies import completion_stream
from service.replies.reply_failure import NoReply
from service.runtime.strict_json import NotJSON, cleaned, parse_object
from service.runtime.untrusted import clean, get_path, get_text, list_of_dicts

# Tags around thinking, as models write them: <think>, <antThinking>, <seed:think>,
# <thought_process>, <|begin_of_thought|>, <|START_THINKING|>, [THINK], ◁think▷. The limits keep
# the search linear.
THINKING = 'think|thinking|thoughts?|reason|reasoning'
NAMES = (
    rf'(?:ant|(?:[a-z]{{1,16}}[:_-]){{0,2}})(?:{THINKING})(?:[:_-][a-z]{{1,16}})?'
    '|reflection|analysis|scratchpad|inner_?monologue'
)
TAG = re.compile(
    rf'<\s{{0,9}}(?P<a>/?)\s{{0,9}}(?:{NAMES})\b(?:[^<>\n]{{0,99}}>)?'
    rf'|<\|(?P<b>/|end_(?:of_)?)?(?:(?:start|begin)_(?:of_)?)?(?:{THINKING})\|>'
    r'|\[(?P<c>/?)(?:think|thinking)\]|◁(?P<d>/?)think▷',
    re.IGNORECASE,
)
# The channels of gpt-oss, behind a server that does not take them apart.
CHANNEL = '<|channel|>'
FINAL_CHANNEL = '<|channel|>final<|message|>'
# Marks of other models: the end of a turn, and what some put around their answer.
MARK = re.compile(
    r'<[|｜][\w▁]{1,32}[|｜]>|</?(?:final_)?(?:answer|response)>|<(?:start|end)_of_turn>|<eos>'
    r'|^\s{0,9}<s>|</s>\s{0,9}$',
    re.IGNORECASE,
)
# Where servers put the sentence about an error.
ERROR_PLACES = (
    ('error', 'message'),
    ('error',),
    ('message',),
    ('detail',),
    ('detail', 'message'),
    ('error', 'detail'),
)
MAX_MODEL = 255  # characters of a model's name
SPOKEN = ('text', 'output_text', 'refusal', None)  # types of parts that hold text for the customer


def parse(body: bytes) -> dict[str, Any]:
    """The completion in the body of an answer, {} when it holds none.

    Raises NoReply when it was broken off.
    """
    if completion_stream.is_stream(body):
        return completion_stream.join(body)
    try:
        return parse_object(body)
    except NotJSON:
        return {}


def find_usage(completion: dict[str, Any], asked_model: str | None) -> AIUsage | None:
    """What the AI took for its answer, None when its server does not say."""
    prompt = _count(get_path(completion, 'usage', 'prompt_tokens'))
    answer = _count(get_path(completion, 'usage', 'completion_tokens'))
    if prompt is None and answer is None:
        return None
    model = clean(completion.get('model'), MAX_MODEL) or asked_model
    return {'model': model, 'prompt_tokens': prompt, 'completion_tokens': answer}


def _count(value: object) -> int | None:
    """A number of tokens that an integer column takes."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if is_count and isinstance(value, int) else None


def find_answer(completion: dict[str, Any]) -> str:
    """The text for the customer. Raises NoReply."""
    choices = list_of_dicts(completion.get('choices'))
    if not choices:
        details = find_error_text(completion)
        raise NoReply('the AI answered something that is no chat completion', details)
    message = choices[0].get('message')
    text: str = cleaned(strip_thinking(_content(get_path(message, 'content'))).strip())
    text = text or cleaned(strip_thinking(get_text(message, 'refusal')).strip())
    if text:
        return text
    if get_path(message, 'tool_calls') or get_path(message, 'function_call'):
        raise NoReply('the AI called a tool, of which it was offered none', final=True)
    if choices[0].get('finish_reason') == 'content_filter':
        raise NoReply("the AI's server held the answer back (content_filter)", final=True)
    raise NoReply('the AI answered nothing')


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ''
    parts = [one if isinstance(one, str) else _spoken(one) for one in content]
    return ''.join(parts)


def _spoken(part: object) -> str:
    kind = get_path(part, 'type')
    key = 'refusal' if kind == 'refusal' else 'text'
    text = get_path(part, key) if kind in SPOKEN else None
    return text if isinstance(text, str) else ''


def strip_thinking(text: str) -> str:
    """What stands outside of all thinking, which may be nested.

    Thinking without a closing tag lasts to the end of the text. With a closing tag alone it began
    with the text: some servers put the opening tag into the prompt.
    """
    text = _final_channel(text)
    spoken: list[str] = []
    depth = 0  # of the thinking
    at = 0  # where the last tag ended
    for tag in TAG.finditer(text):
        if not depth:
            spoken.append(text[at : tag.start()])
        at = tag.end()
        if tag[0].endswith('/>'):  # opened and closed at once
            continue
        if not any(tag.group('a', 'b', 'c', 'd')):
            depth += 1
        elif depth:
            depth -= 1
        else:
            spoken.clear()
    return MARK.sub('', ''.join(spoken) + (text[at:] if not depth else ''))


def _final_channel(text: str) -> str:
    _, is_there, final = text.rpartition(FINAL_CHANNEL)
    return final if is_there or CHANNEL not in text else ''


def find_error_text(body: dict[str, Any]) -> str | None:
    """The server's sentence about an error; redaction.py makes it fit to be shown."""
    return next(filter(None, (get_text(body, *place) for place in ERROR_PLACES)), None)
