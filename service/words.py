"""Pure: the words with which a customer says that they want no more marketing, or want it again."""

import re
import unicodedata
from functools import lru_cache

from service.webhook_events import as_dict, clean

# What an account has that names none of its own: English, Spanish, Portuguese.
OPT_OUT = (
    'stop', 'stop all', 'stopall', 'stop promotions', 'stop marketing', 'unsubscribe', 'opt out', 'optout',
    'baja', 'darme de baja', 'dar de baja', 'parar', 'basta', 'detener', 'detener promociones', 'cancelar suscripción',
    'no más mensajes', 'desuscribir', 'desuscribirme',
    'pare', 'sair', 'descadastrar', 'cancelar inscrição', 'cancelar assinatura', 'parar promoções',
    'não quero receber', 'remover',
)  # fmt: skip
OPT_IN = (
    'start', 'unstop', 'subscribe', 'resubscribe', 'opt in', 'optin',
    'alta', 'darme de alta', 'suscribir', 'suscribirme', 'reanudar',
    'voltar', 'inscrever', 'quero receber', 'retomar',
)  # fmt: skip
MAX_WORDS, MAX_LENGTH = 50, 64
BETWEEN = re.compile(r'[\W_]+')


def plain(text):
    """A text without case, accents and everything that is no letter or digit; as it is when there is nothing else."""
    folded = unicodedata.normalize('NFKD', text.casefold())
    letters = ''.join(char for char in folded if not unicodedata.combining(char))
    return BETWEEN.sub(' ', letters).strip() or text.strip()


@lru_cache(maxsize=1000)
def _known(words):
    return frozenset(map(plain, words))


def _words(given, default):
    return _known(tuple(default if given is None else given))


def wish(data, opt_out=None, opt_in=None):
    """(kind, word) when a message says nothing but such a word, else None. A word of both lists is one of STOP.

    `data`: Meta's message; `opt_out`, `opt_in`: an account's own words, None for the default ones.
    """
    for text in _texts(data):
        word = plain(text) if len(text) <= 4 * MAX_LENGTH else None
        if word and word in _words(opt_out, OPT_OUT):
            return 'opt_out', word
        if word and word in _words(opt_in, OPT_IN):
            return 'opt_in', word
    return None


def _texts(data):
    """What a customer wrote, or the label of the button that they pressed."""
    kind = clean(data.get('type')) or ''
    body = as_dict(data.get(kind))
    names = {'text': ('body',), 'button': ('payload', 'text'), 'interactive': ('title',)}.get(kind, ())
    body = as_dict(body.get('button_reply')) if kind == 'interactive' else body
    return [body[name] for name in names if isinstance(body.get(name), str)]
