"""Several messages in one frame: when that may be, and what becomes of them together.

The revision 2025-03-26 alone has batches (basic/index, "Batching"). Knows no text and no state.
"""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

from pipeguard.core.finding import Direction, Verdict, greatest
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.frame_outline import legible_ids
from pipeguard.core.protocol.ids import id_token_of
from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.errors import Refusal

REVISION = "2025-03-26"  # the one that has them
MAX_BATCH = 100  # messages in one batch


class RefusedBatch(Refusal):
    """A batch that does not pass.

    Attributes:
        asked: the ids of the requests in it: their sender waits for an answer to each.
        answered: the ids of the answers in it: no others will come.
    """

    def __init__(self, rule: str, why: str, members: list[JsonValue]) -> None:
        super().__init__(rule, why, codes.INVALID_REQUEST)
        self.asked = _ids(members, of_requests=True)
        self.answered = _ids(members, of_requests=False)


def _ids(members: list[JsonValue], *, of_requests: bool) -> list[str]:
    found = (
        id_token_of(member.get("id"))
        for member in members
        if isinstance(member, dict) and ("method" in member) is of_requests
    )
    return [token for token in dict.fromkeys(found) if token is not None]


class Ids(NamedTuple):
    """The ids in a refused batch.

    Attributes:
        asked: of the requests: their sender waits for an answer to each.
        answered: of the answers: no others will come.
    """

    asked: list[str]
    answered: list[str]


def ids_of(refusal: Refusal, frame: bytes) -> Ids | None:
    """Of a refused batch, also of one that could not be read; None where it is none."""
    if isinstance(refusal, RefusedBatch):
        ids = Ids(refusal.asked, refusal.answered)
    elif frame[:4096].lstrip()[:1] == b"[" and refusal.id_token is not None:
        found = legible_ids(frame)
        ids = Ids([t for t, asks in found if asks], [t for t, asks in found if not asks])
    else:
        return None
    return ids if ids.asked or ids.answered else None


def check(members: list[JsonValue], revision: str | None) -> None:
    """Refuse a batch where the revision has none, or where it may not be one.

    Raises:
        RefusedBatch: with -32600 (MCP 2025-03-26 basic/lifecycle: `initialize` stands alone).
    """
    if revision != REVISION:
        raise RefusedBatch("protocol.batch", "this revision of MCP has no batches", members)
    if not members or len(members) > MAX_BATCH:
        why = f"a batch holds 1 to {MAX_BATCH} messages"
        raise RefusedBatch("protocol.batch-size", why, members)
    if any(isinstance(m, dict) and m.get("method") == "initialize" for m in members):
        why = "initialize must not stand in a batch"
        raise RefusedBatch("protocol.batch-initialize", why, members)
    asks = [isinstance(member, dict) and "method" in member for member in members]
    if any(asks) and not all(asks):
        why = "a batch holds requests or answers, not both"
        raise RefusedBatch("protocol.batch-mixed", why, members)
    ids = [id_token_of(member.get("id")) for member in members if _asks(member)]
    if len(set(ids)) < len(ids):
        raise RefusedBatch("protocol.batch-ids", "two requests in a batch have one id", members)


def _asks(member: JsonValue) -> TypeGuard[JsonObject]:
    return isinstance(member, dict) and "method" in member and "id" in member


def together(direction: Direction, frame: bytes, verdicts: list[Verdict], event: str) -> Verdict:
    """One verdict of those on each member; the frame itself goes on where all of it does."""
    forwards = [v.forward for v in verdicts if v.forward is not None]
    replies = [v.reply for v in verdicts if v.reply is not None]
    same = all(v.forward is v.frame for v in verdicts)
    findings = tuple(finding for v in verdicts for finding in v.findings)
    return Verdict(
        direction,
        frame,
        greatest(findings),
        frame if same else array(forwards),
        array(replies),
        findings,
        event,
        None,
        "batch",
        None,
        tuple(pin for v in verdicts for pin in v.pins),
        tuple(frame for v in verdicts for frame in v.more),
        any(v.is_astray for v in verdicts),
    )


def alone(frames: list[bytes]) -> bytes | None:
    """A message as it is, a batch of several; None where there is none."""
    return frames[0] if len(frames) == 1 else array(frames)


def array(frames: list[bytes]) -> bytes | None:
    """A batch of messages; None where there is none."""
    return b"[" + b",".join(frames) + b"]" if frames else None
