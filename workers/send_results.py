"""What became of calls: written, told to whom it concerns, and logged."""

import logging
from contextlib import suppress
from datetime import UTC, datetime

from peewee import PeeweeException

from service.conversations import identity
from service.graph import outage
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.media import inbound_file
from service.messages import echo, read_receipt
from service.runtime import metrics
from service.runtime.db import db, reason
from service.runtime.logs import mask
from service.runtime.queues import ERRANDS, SEND, wake
from service.sending import delivery_status, dispatch, escalation, holds, send_outcome
from service.sending.dispatch import ClaimedMessage
from service.sending.escalation import SendFailure
from service.sending.send_outcome import SendResult
from service.webhooks import identity_claims
from workers.pool import Unrecordable
from workers.send_files import RETRY_AFTER_SECONDS

log = logging.getLogger(__name__)


def record(batch: list[tuple[ClaimedMessage, SendResult | Exception]]) -> outage.News:
    """Release the messages that were postponed, write the outcomes of all others.

    Returns which outages began or ended, of which the caller tells.
    """
    results = [_result_of(message, result) for message, result in batch]
    postponed = [one.message for one in results if one.outcome.kind == OutcomeKind.POSTPONED]
    dispatch.release_claims(postponed, RETRY_AFTER_SECONDS)
    called = [one for one in results if one.outcome.kind != OutcomeKind.POSTPONED]
    return _record(called) if called else outage.News()


def _result_of(message: ClaimedMessage, result: SendResult | Exception) -> SendResult:
    """The result of a call, also where an exception stands in its place."""
    if isinstance(result, SendResult):
        return result
    if isinstance(result, Unrecordable):
        error = make_error(str(result), cause='not_recorded')
        return SendResult(message, Outcome(OutcomeKind.FAILED, error=error), datetime.now(UTC))
    error = make_error(f'internal error ({type(result).__name__})', cause='internal')
    return SendResult(message, Outcome(OutcomeKind.UNKNOWN, error=error), datetime.now(UTC))


def _record(results: list[SendResult]) -> outage.News:
    """Write outcomes, join statuses that were faster, escalate failures; log a line for each."""
    accepted = [one for one in results if one.outcome.kind == OutcomeKind.ACCEPTED]
    with db.atomic():
        recorded = send_outcome.record(results)
        failures = _join_statuses(recorded.early)
        failures += [_failure(one) for one in results if one.outcome.error]
        escalation.apply(failures)
    for result in results:
        metrics.send_attempts.labels(result.outcome.kind).inc()
        _log(result)
    _link_identities(accepted)
    return recorded.news


def tell_of_outages(news: outage.News) -> None:
    """Tell the waiting work of outages that began or ended.

    The results are written already: an error here makes the outage less smooth, no more.
    """
    with suppress(PeeweeException):
        outage.apply_news(news)
        for streak in news.ended:
            number = None if streak.scope == outage.ALL else streak.phone_number_id
            inbound_file.resume_number(number)
            read_receipt.retry_failed(number)
    if news.ended:
        wake(SEND)
        wake(ERRANDS)


def _link_identities(accepted: list[SendResult]) -> None:
    """Note which ids Meta's answers name as one person's.

    If that is lost with this process, or with the database, statuses tell it again.
    """
    claims = [identity_claims.of_answer(one.message, one.outcome, one.at) for one in accepted]
    found = [claim for claim in claims if claim]
    if not found:
        return
    try:
        identity.link(found, holds.resolve_conflict)
    except PeeweeException as error:
        told = {'reason': reason(error)}
        log.warning('what answers tell of people was not noted', extra=told)


def _join_statuses(early: list[str]) -> list[SendFailure]:
    """Join what Meta told of messages before their wamids were written; the failures among it."""
    if not early:
        return []
    echo.delete_duplicates(early)
    return delivery_status.join_orphans(early)[1]


def _failure(result: SendResult) -> SendFailure:
    message = result.message
    return SendFailure(
        chatbot_id=message.chatbot_id,
        phone_number_id=message.phone_number_id,
        outcome=result.outcome,
        batch_id=message.batch_id,
        access_token=message.access_token,
        conversation_id=message.conversation_id,
        at=result.at,
    )


def _log(result: SendResult) -> None:
    message = result.message
    outcome = result.outcome
    line = {
        'message_id': message.id,
        'chatbot_id': message.chatbot_id,
        'outcome': outcome.kind,
        'attempt': message.attempts,
        'to': mask(message.recipient_to or message.recipient),
        'ms': result.milliseconds,
    }
    if outcome.error:
        line |= {'code': outcome.error['code'], 'title': outcome.error['title']}
    is_accepted = outcome.kind == OutcomeKind.ACCEPTED
    log.log(logging.INFO if is_accepted else logging.WARNING, 'send', extra=line)
