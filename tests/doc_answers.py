"""The JSON that README and docs show: with … for what is left out, and wrapped like text."""

import json
import re

from tests.docs import blocks, documents

TEXT_OR_GAP = re.compile(r'"(?:[^"\\]|\\.)*"|…', re.DOTALL)
LEFT_OUT = '…'


def shown(block):
    """Every value that a block shows, without the parts that are left out."""
    text = TEXT_OR_GAP.sub(lambda found: found[0] if found[0] != LEFT_OUT else '', block.text)
    text = re.sub(r',(\s*,)+', ',', text)
    text = re.sub(r'([{\[])\s*,', r'\1', text)
    text = re.sub(r',\s*([}\]])', r'\1', text)
    values, at, decoder = [], 0, json.JSONDecoder(strict=False)
    while at < len(text.rstrip()):
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        values.append(value)
    return values


def is_next(block, after):
    """Whether nothing but an empty line stands between two blocks."""
    return after.line - (block.line + block.text.count('\n') + 1) <= 2


def json_blocks():
    return [one for name in documents() for one in blocks(name) if one.language == 'json']


def answers_in(output):
    """Every JSON object that a command has printed."""
    decoder, at, found = json.JSONDecoder(), 0, []
    while (at := output.find('{', at)) >= 0:
        try:
            value, at = decoder.raw_decode(output, at)
            found.append(value)
        except ValueError:
            at += 1
    return found


def is_excerpt(part, whole):
    """Whether `whole` has every field of `part`, with values of the same kinds."""
    if part is None or whole is None:
        return True
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            name in whole and is_excerpt(value, whole[name]) for name, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and (
            not whole or all(any(is_excerpt(one, other) for other in whole) for one in part)
        )
    if isinstance(part, bool) or isinstance(whole, bool):
        return type(part) is type(whole)
    kinds = (int, float) if isinstance(part, int | float) else str
    return isinstance(whole, kinds)
