"""What can go wrong for a caller.

GatewayError                 each knows its HTTP status; the docstring is its title
├── BadRequest               400
├── Unauthorized             401
├── NotFound                 404
├── Conflict                 409
├── Invalid                  422   with errors: {field: [message]}
├── TooManyQueued            429   trying again helps
└── Unavailable              503   trying again helps
"""


class GatewayError(Exception):
    """Internal error"""

    status = 500
    retry_after = None

    def __init__(self, detail=None, errors=None, **members):
        """`members`: what a program needs to know of it, beside the sentence for people."""
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = errors
        self.members = members

    @property
    def title(self):
        return type(self).__doc__


class BadRequest(GatewayError):
    """Bad request"""

    status = 400


class Unauthorized(GatewayError):
    """A valid API key is required"""

    status = 401


class NotFound(GatewayError):
    """Not found"""

    status = 404


class Conflict(GatewayError):
    """Conflict with the present state"""

    status = 409


class Invalid(GatewayError):
    """The request is not valid"""

    status = 422


class TooManyQueued(GatewayError):
    """Too many messages are waiting"""

    status = 429
    retry_after = 5


class Unavailable(GatewayError):
    """Temporarily unavailable"""

    status = 503
    retry_after = 2
