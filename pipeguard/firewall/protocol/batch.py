"""Several messages in one frame: when a batch is allowed, and its members' verdicts as one.

Only the revision 2025-03-26 has batches (basic/index, "Batching"). Knows no text and no state.
"""

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Direction, Verdict, greatest
from pipeguard.firewall.protocol import codes, framing
from pipeguard.firewall.protocol.ids import request_ids, write_id
from pipeguard.firewall.protocol.json_values import JsonValue, as_object
from pipeguard.records import NamedTuple

REVISION = "2025-03-26"  # the only one with batches
MAX_BATCH = 100  # messages in one batch


class Ids(NamedTuple):
    """The ids in a refused batch.

    Attributes:
        requests: of its requests: their sender waits for an answer to each.
        answers: of its answers: no others will come.
    """

    requests: list[str]
    answers: list[str]


class _RefusedBatch(Refusal):
    """A batch that is not forwarded.

    Attributes:
        ids: the ids in it.
    """

    def __init__(self, rule: str, why: str, members: list[JsonValue]) -> None:
        super().__init__(rule, why, codes.INVALID_REQUEST)
        asked = dict.fromkeys(request_ids(members))
        answered = dict.fromkeys(request_ids(members, answered=True))
        self.ids = Ids(list(asked), list(answered))


def collect_ids(refusal: Refusal, frame: bytes) -> Ids | None:
    """The ids in a refused batch, even an unreadable one; None without ids or without a batch."""
    if isinstance(refusal, _RefusedBatch):
        ids = refusal.ids
    elif frame[:4096].lstrip()[:1] == b"[" and refusal.id_token is not None:
        tokens = framing.legible_ids(frame)
        ids = Ids([t for t, asks in tokens if asks], framing.answered_ids(frame, refusal))
    else:
        return None
    return ids if ids.requests or ids.answers else None


def check(members: list[JsonValue], revision: str | None) -> None:
    """Refuse a batch that the revision does not allow.

    Raises:
        Refusal: the revision has no batches, or the members may not be together (MCP
            2025-03-26 basic/lifecycle: `initialize` is never part of a batch).
    """
    if revision != REVISION:
        raise _RefusedBatch("protocol.batch", "this revision of MCP has no batches", members)
    if not members or len(members) > MAX_BATCH:
        why = f"a batch has 1 to {MAX_BATCH} messages"
        raise _RefusedBatch("protocol.batch-size", why, members)
    if any(as_object(member).get("method") == "initialize" for member in members):
        why = "initialize must not be part of a batch"
        raise _RefusedBatch("protocol.batch-initialize", why, members)
    asks = ["method" in as_object(member) for member in members]
    if any(asks) and not all(asks):
        why = "a batch has requests or answers, not both"
        raise _RefusedBatch("protocol.batch-mixed", why, members)
    asking = (m for m in members if isinstance(m, dict) and m.keys() >= {"method", "id"})
    ids = [write_id(member["id"]) for member in asking]
    if len(set(ids)) < len(ids):
        raise _RefusedBatch("protocol.batch-ids", "two requests in a batch have one id", members)


def together(direction: Direction, frame: bytes, verdicts: list[Verdict], event: str) -> Verdict:
    """One verdict on a batch; it forwards the frame itself if every member is unchanged."""
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
        members=tuple(verdicts),
    )


def array(frames: list[bytes]) -> bytes | None:
    """A batch of frames; None without frames."""
    return b"[" + b",".join(frames) + b"]" if frames else None
