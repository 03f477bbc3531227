"""What a caller accepts: which of an answer's forms it gets."""

from collections.abc import Sequence

from flask import request
from werkzeug.datastructures import MIMEAccept


def best_type(offered: Sequence[str]) -> str:
    """The offered content type that `Accept` likes best; the first where it likes none more.

    Parameters of a media type do not matter: `text/csv; charset=utf-8` means text/csv. Werkzeug
    would compare them, and our types have none.
    """
    named = [(name.partition(';')[0].strip(), weight) for name, weight in request.accept_mimetypes]
    return MIMEAccept(named).best_match(offered, offered[0]) or offered[0]
