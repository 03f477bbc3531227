"""Pure: the words with which customers say that they want no more marketing, or want it again."""

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from service.content.characters import LETTER_APOSTROPHES
from service.runtime.untrusted import as_dict

# What an account has that names none of its own: English, Spanish, Portuguese.
OPT_OUT = (
    'stop', 'stop all', 'stopall', 'stop promotions', 'stop marketing', 'unsubscribe', 'opt out',
    'optout', 'baja', 'darme de baja', 'dar de baja', 'parar', 'basta', 'detener',
    'detener promociones', 'cancelar suscripción', 'no más mensajes', 'desuscribir',
    'desuscribirme', 'pare', 'sair', 'descadastrar', 'cancelar inscrição', 'cancelar assinatura',
    'parar promoções', 'não quero receber', 'remover',
)  # fmt: skip
OPT_IN = (
    'start', 'unstop', 'subscribe', 'resubscribe', 'opt in', 'optin', 'alta', 'darme de alta',
    'suscribir', 'suscribirme', 'reanudar', 'voltar', 'inscrever', 'quero receber', 'retomar',
)  # fmt: skip
# On a button or in a list only those of them that can mean nothing else there: the "Remover" of a
# cart, the "Baja" (low) of three priorities and the "Voltar" (back) of a menu are not about
# marketing. An account's own words count everywhere.
PRESSED_OPT_OUT = (
    'stop', 'stop all', 'stopall', 'stop promotions', 'stop marketing', 'unsubscribe', 'opt out',
    'optout', 'darme de baja', 'detener promociones', 'no más mensajes', 'desuscribir',
    'desuscribirme', 'descadastrar', 'parar promoções', 'não quero receber',
)  # fmt: skip
PRESSED_OPT_IN = (
    'start', 'unstop', 'subscribe', 'resubscribe', 'opt in', 'optin', 'suscribirme',
    'quero receber',
)  # fmt: skip
MAX_WORDS = 50  # of an account's own, in each list
MAX_LENGTH = 64  # characters of one of them
BETWEEN = re.compile(rf'[\W_{LETTER_APOSTROPHES}]+')


class MarketingChoice(StrEnum):
    """What somebody wants of marketing; the kind of the contact_event that keeps it."""

    OPT_OUT = 'opt_out'
    OPT_IN = 'opt_in'


class KeywordMatch(NamedTuple):
    """A message that is nothing but a keyword."""

    choice: MarketingChoice
    word: str  # normalized


def normalize(text: str) -> str:
    """A text without case, accents, and what is no letter or digit; unless nothing else is left."""
    letters = text.casefold()
    if not letters.isascii():
        apart = unicodedata.normalize('NFKD', letters)
        letters = ''.join(char for char in apart if not unicodedata.combining(char))
    return BETWEEN.sub(' ', letters).strip() or text.strip()


@lru_cache(maxsize=1000)
def _normalized(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(normalize, words))


def _keyword_list(own: Iterable[str] | None, default: tuple[str, ...]) -> frozenset[str]:
    return _normalized(default if own is None else tuple(own))


def match_keyword(
    data: dict[str, Any], opt_out: Iterable[str] | None = None, opt_in: Iterable[str] | None = None
) -> KeywordMatch | None:
    """The keyword that a message of Meta's consists of, None when it says anything else.

    `opt_out`, `opt_in`: the account's own words, None for the default ones. A word of both lists
    opts out.
    """
    pressed = _pressed(data)
    default_out = PRESSED_OPT_OUT if pressed else OPT_OUT
    default_in = PRESSED_OPT_IN if pressed else OPT_IN
    for text in pressed or _written(data):
        word = normalize(text) if len(text) <= 4 * MAX_LENGTH else None
        if word and word in _keyword_list(opt_out, default_out):
            return KeywordMatch(MarketingChoice.OPT_OUT, word)
        if word and word in _keyword_list(opt_in, default_in):
            return KeywordMatch(MarketingChoice.OPT_IN, word)
    return None


def _written(data: dict[str, Any]) -> list[str]:
    """The text of a text message."""
    return _texts(as_dict(data.get('text')), 'body') if data.get('type') == 'text' else []


def _pressed(data: dict[str, Any]) -> list[str]:
    """The texts of the button, of a template's or ours, or of the list row that was chosen."""
    if data.get('type') == 'button':
        return _texts(as_dict(data.get('button')), 'payload', 'text')
    if data.get('type') != 'interactive':
        return []
    interactive = as_dict(data.get('interactive'))
    button = _texts(as_dict(interactive.get('button_reply')), 'title')
    return button + _texts(as_dict(interactive.get('list_reply')), 'title')


def _texts(body: dict[str, Any], *names: str) -> list[str]:
    return [body[name] for name in names if isinstance(body.get(name), str)]
