"""Pure: the words with which a customer says that they want no more marketing, or want it again."""

import re
import unicodedata
from functools import lru_cache

from service.runtime.untrusted import as_dict

# What an account has that names none of its own: English, Spanish, Portuguese.
OPT_OUT = (
    'stop',
    'stop all',
    'stopall',
    'stop promotions',
    'stop marketing',
    'unsubscribe',
    'opt out',
    'optout',
    'baja',
    'darme de baja',
    'dar de baja',
    'parar',
    'basta',
    'detener',
    'detener promociones',
    'cancelar suscripción',
    'no más mensajes',
    'desuscribir',
    'desuscribirme',
    'pare',
    'sair',
    'descadastrar',
    'cancelar inscrição',
    'cancelar assinatura',
    'parar promoções',
    'não quero receber',
    'remover',
)
OPT_IN = (
    'start',
    'unstop',
    'subscribe',
    'resubscribe',
    'opt in',
    'optin',
    'alta',
    'darme de alta',
    'suscribir',
    'suscribirme',
    'reanudar',
    'voltar',
    'inscrever',
    'quero receber',
    'retomar',
)
# Of these, what can mean nothing else on a button or in a list that asks about something: the
# "Remover" of a cart, the "Baja" of three priorities, the "Voltar" of a menu say nothing of
# marketing. An account's own words count everywhere.
PRESSED_OPT_OUT = (
    'stop',
    'stop all',
    'stopall',
    'stop promotions',
    'stop marketing',
    'unsubscribe',
    'opt out',
    'optout',
    'darme de baja',
    'detener promociones',
    'no más mensajes',
    'desuscribir',
    'desuscribirme',
    'descadastrar',
    'parar promoções',
    'não quero receber',
)
PRESSED_OPT_IN = (
    'start',
    'unstop',
    'subscribe',
    'resubscribe',
    'opt in',
    'optin',
    'suscribirme',
    'quero receber',
)
MAX_WORDS, MAX_LENGTH = 50, 64
BETWEEN = re.compile(r'[\W_]+')


def plain(text):
    """A text without case, accents and everything that is no letter or digit; as it is when there
    is nothing else.
    """
    folded = unicodedata.normalize('NFKD', text.casefold())
    letters = ''.join(char for char in folded if not unicodedata.combining(char))
    return BETWEEN.sub(' ', letters).strip() or text.strip()


@lru_cache(maxsize=1000)
def _known(words):
    return frozenset(map(plain, words))


def _words(given, default):
    return _known(tuple(default if given is None else given))


def wish(data, opt_out=None, opt_in=None):
    """(kind, word) when a message says nothing but such a word, else None.

    A word of both lists is one of STOP.

    `data`: Meta's message; `opt_out`, `opt_in`: an account's own words, None for the default ones.
    """
    written, pressed = _written(data), _pressed(data)
    default_out, default_in = (PRESSED_OPT_OUT, PRESSED_OPT_IN) if pressed else (OPT_OUT, OPT_IN)
    for text in written or pressed:
        word = plain(text) if len(text) <= 4 * MAX_LENGTH else None
        if word and word in _words(opt_out, default_out):
            return 'opt_out', word
        if word and word in _words(opt_in, default_in):
            return 'opt_in', word
    return None


def _written(data):
    return _texts(as_dict(data.get('text')), 'body') if data.get('type') == 'text' else []


def _pressed(data):
    """What stands on the button or the row of a list that a customer chose: a template's, or one of
    ours.
    """
    if data.get('type') == 'button':
        return _texts(as_dict(data.get('button')), 'payload', 'text')
    if data.get('type') != 'interactive':
        return []
    interactive = as_dict(data.get('interactive'))
    return [
        text
        for name in ('button_reply', 'list_reply')
        for text in _texts(as_dict(interactive.get(name)), 'title')
    ]


def _texts(body, *names):
    return [body[name] for name in names if isinstance(body.get(name), str)]
