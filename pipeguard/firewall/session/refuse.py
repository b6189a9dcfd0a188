"""Refuses a frame that could not be judged, and answers all peers that wait for it.

It also answers messages that `judge` blocked (`answer_request`). It knows who waits for which
answer, and only as much of the frame as could be read.
"""

from contextlib import suppress

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    TO_CLIENT,
    TO_SERVER,
    Finding,
    Verdict,
    greatest,
    make_block,
    make_warning,
    method_is_secret,
    worst,
)
from pipeguard.firewall.protocol import batch, codes, framing, message
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.case import Case

# The first revision in which an error may lack an id: older clients hang up on one.
ANSWERS_WITHOUT_ID = "2025-11-25"
# Rules that a request may break without a legible id. A notification breaks the others.
_WITHOUT_LEGIBLE_ID = (
    "protocol.invalid-json",
    "protocol.invalid-utf8",
    "protocol.not-an-object",
    "protocol.invalid-id",
    "protocol.batch",
    "protocol.frame-too-large",
)


class RefusedAnswer(Refusal):
    """An answer that is not forwarded, to a request that no longer waits."""

    def __init__(self, request: PendingRequest, refusal: Refusal) -> None:
        super().__init__(refusal.rule, refusal.why, refusal.code, request.id_token)
        self.request = request


def as_refusal(frame: bytes, error: Exception) -> Refusal:
    """The refusal of a frame: a check's own, or that of a frame on which a check failed.

    For the latter only the id is known, or the ids of a batch.
    """
    if isinstance(error, Refusal):
        return error
    id_token = None
    with suppress(Refusal):
        parsed = message.parse(frame)
        id_token = framing.legible_id(frame) if isinstance(parsed, list) else parsed.id_token
    why = f"judging it failed ({type(error).__name__})"
    return Refusal("protocol.internal", why, codes.INTERNAL, id_token)


def _may_ask(frame: bytes) -> bool:
    """True for a frame without a legible id that may be a request.

    Of a line over the limit, its last part, unless an earlier one had the id.
    """
    if not isinstance(frame, framing.Oversized):
        return True
    return bool(frame.head and frame.tail) and framing.is_request_shaped(frame) is not False


def refuse(case: Case, refusal: Refusal) -> Verdict:
    """The verdict on a refused frame; each request in it is answered once."""
    if not isinstance(refusal, RefusedAnswer):
        case.reopen()  # closed by the refusal of this answer
    is_lost = refusal.code == codes.PEER_GONE  # not a refusal by PipeGuard
    findings = [(make_warning if is_lost else make_block)(refusal.rule, refusal.why)]
    if isinstance(refusal, RefusedAnswer):
        return _withhold(case, refusal.request, refusal.code, findings)
    ids = batch.collect_ids(refusal, case.frame)
    if ids is not None:
        return _refuse_batch(case, ids, refusal.code, findings)
    if refusal.id_token is not None:
        return _refuse_identified(case, refusal, refusal.id_token, findings)
    reply = None
    revision = case.state.peers.revision or ""
    may_ask = refusal.rule in _WITHOUT_LEGIBLE_ID and _may_ask(case.frame)
    if case.direction is TO_SERVER and may_ask and revision >= ANSWERS_WITHOUT_ID:
        reply = replies.error(None, refusal.code, f"PipeGuard: {refusal.why}")
    return _blocking(case, findings, None, reply)


def answer_request(
    case: Case,
    request: PendingRequest,
    code: int,
    findings: list[Finding],
    *,
    replaces_answer: bool = False,
) -> bytes:
    """Answer the sender of a refused request.

    Args:
        case: of the frame that was refused.
        request: the request.
        code: of the error, from firewall.protocol.codes.
        findings: the reasons.
        replaces_answer: True if the frame is the answer to the request, False if it is the
            request itself.
    """
    if case.direction is (TO_CLIENT if replaces_answer else TO_SERVER):
        method = None if method_is_secret(findings) else request.method
        is_unsent = isinstance(case.frame, framing.Lost) and not case.frame.sent
        return replies.refusal_to_client(
            method,
            request.id_token,
            code,
            finding=worst(findings),
            event=case.event,
            executed=replaces_answer and not is_unsent,
            wait_outcome="" if replaces_answer else request.wait_outcome,
            typed=not case.state.peers.handshake,
        )
    return replies.refusal_to_server(request.method, request.id_token, code, case.event)


def _refuse_batch(case: Case, ids: batch.Ids, code: int, findings: list[Finding]) -> Verdict:
    # A peer that sends a batch reads one (JSON-RPC 2.0, section 6), whatever was agreed.
    reply = batch.array([_to_sender(case, token, code, findings) for token in ids.requests])
    closed = case.state.close_all(case.direction, ids.answers)
    # Each answer goes by itself, because few peers read a batch.
    code = codes.PEER_BROKE_PROTOCOL
    answers = [answer_request(case, each, code, findings, replaces_answer=True) for each in closed]
    forward = answers[0] if len(answers) == 1 else batch.array(answers)
    verdict = _blocking(case, findings, forward, reply)
    return verdict._replace(apart=tuple(answers)) if len(answers) > 1 else verdict


def _refuse_identified(
    case: Case, refusal: Refusal, id_token: str, findings: list[Finding]
) -> Verdict:
    """Refuse a frame whose id could be read; it is a request, an answer, or either."""
    asks = framing.is_request_shaped(case.frame)
    request = reply = None
    if not asks and (
        case.direction is TO_SERVER or framing.is_answer(case.frame, refusal, asks=asks)
    ):
        request = next(iter(case.state.close_all(case.direction, [id_token])), None)
    if asks or (asks is None and request is None and case.direction is TO_SERVER):
        reply = _to_sender(case, id_token, refusal.code, findings)
    if request is None:
        return _blocking(case, findings, None, reply)
    return _withhold(case, request, refusal.code, findings)


def _withhold(case: Case, request: PendingRequest, code: int, findings: list[Finding]) -> Verdict:
    """Replace the answer to a request by ours."""
    if code in (codes.PARSE_ERROR, codes.INVALID_REQUEST):  # the one who asked is not at fault
        code = codes.PEER_BROKE_PROTOCOL
    forward = answer_request(case, request, code, findings, replaces_answer=True)
    verdict = _blocking(case, findings, forward, None)
    method, tool = request.record_names
    return verdict._replace(
        method=method,
        tool=tool,
        request_bytes=request.frame_bytes,
        answer_seconds=case.now - request.since,
    )


def _blocking(
    case: Case, findings: list[Finding], forward: bytes | None, reply: bytes | None
) -> Verdict:
    return Verdict(
        case.direction,
        case.frame,
        greatest(findings),
        forward,
        reply,
        tuple(findings),
        case.event,
    )


def _to_sender(case: Case, id_token: str, code: int, findings: list[Finding]) -> bytes:
    """The answer to a request that could not be read. Its id is used only for this."""
    request = PendingRequest(id_token, "", None, 0.0)
    return answer_request(case, request, code, findings)
