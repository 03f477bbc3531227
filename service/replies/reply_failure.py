"""Why a responder gave no reply, and what that means for the next attempt."""

# HTTP statuses of a responder that a person has to mend: its key, its address or its model.
MISCONFIGURED_STATUSES = frozenset((401, 403, 404))


class NoReply(Exception):
    """The responder gave no usable answer. The title is ours and quotes nothing of it."""

    def __init__(
        self,
        title: str,
        details: str | None = None,
        final: bool = False,
        wait: float | None = None,
        is_misconfigured: bool = False,
    ) -> None:
        """`details`: the server's own sentence, fit to be shown.

        `final`: asking again would bring the same answer. `wait`: seconds after which the server
        wants to be asked again. `is_misconfigured`: nobody of this account can be answered, until a
        person changes its responder.
        """
        super().__init__(title)
        self.details = details
        self.final = final
        self.wait = wait
        self.is_misconfigured = is_misconfigured
