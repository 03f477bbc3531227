"""Pure: what a chat-completions server answered: the text that is for the customer, and never its
thinking.

Servers differ: `content` is a text or a list of parts, what a model thinks stands in fields of its
own or in the middle of the text, a refusal has a field, and an error may come with status 200.
"""

import re

from service.replies.reply_failure import NoReply
from service.runtime.strict_json import cleaned
from service.runtime.untrusted import inside, objects, text_at

# As models write it: <think>, <antThinking>, <seed:think>, <thought_process>, <|begin_of_thought|>,
# <|START_THINKING|>, [THINK], ◁think▷. The limits keep it linear.
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
# gpt-oss, behind a server that does not take its channels apart
FINAL, CHANNEL = '<|channel|>final<|message|>', '<|channel|>'
# Other models' ends of a turn, and what some put around their answer
MARK = re.compile(
    r'<[|｜][\w▁]{1,32}[|｜]>|</?(?:final_)?(?:answer|response)>|<(?:start|end)_of_turn>|<eos>|^\s{0,9}<s>|</s>\s{0,9}$',
    re.IGNORECASE,
)
SPOKEN = ('text', 'output_text', None)  # types of parts


def answer_in(completion: dict) -> str:
    """The text for the customer. Raises NoReply."""
    choices = objects(completion.get('choices'))
    if not choices:
        details = sentence_in(completion)
        raise NoReply('the AI answered something that is no chat completion', details)
    message = choices[0].get('message')
    text = cleaned(without_thinking(_content(inside(message, 'content'))).strip())
    text = text or cleaned(without_thinking(text_at(message, 'refusal')).strip())
    if text:
        return text
    if inside(message, 'tool_calls') or inside(message, 'function_call'):
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
    text = inside(part, 'text') if inside(part, 'type') in SPOKEN else None
    return text if isinstance(text, str) else ''


def without_thinking(text: str) -> str:
    """What stands outside of all thinking.

    One that is not closed ends with the text, one that was never opened began with it (servers put
    the opening tag into the prompt); they may be nested.
    """
    text = _final_channel(text)
    spoken, depth, at = [], 0, 0
    for tag in TAG.finditer(text):
        if not depth:
            spoken.append(text[at : tag.start()])
        at = tag.end()
        if tag[0].endswith('/>'):  # it holds nothing
            continue
        if not any(tag.group('a', 'b', 'c', 'd')):
            depth += 1
        elif depth:
            depth -= 1
        else:
            spoken.clear()
    return MARK.sub('', ''.join(spoken) + (text[at:] if not depth else ''))


def _final_channel(text: str) -> str:
    _, is_there, final = text.rpartition(FINAL)
    return final if is_there or CHANNEL not in text else ''


def sentence_in(body: dict) -> str | None:
    """What the server says of an error, wherever it stands; not yet fit to be shown
    (service.replies.redaction).
    """
    places = [
        ('error', 'message'),
        ('error',),
        ('message',),
        ('detail',),
        ('detail', 'message'),
        ('error', 'detail'),
    ]
    return next(filter(None, (text_at(body, *place) for place in places)), None)
