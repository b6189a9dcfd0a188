"""One frame on its way to a verdict: a record, and nothing that decides.

A Session makes a case of each frame. `look` passes what one look shows to be plain. Of the rest,
`judge` reads the message, `find` finds what is in it, `settle` turns that into the verdict, and
`refuse` refuses what cannot be judged.
"""

from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Direction, Findings, MessageKind, PinChange
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.firewall.session.guard import Guard, Obstacles
from pipeguard.firewall.session.lifecycle import ConversationState, WaitingRoom


class Case:
    """One frame, and all that is known of it.

    Attributes:
        guard: policy, pins and detector of the server. A snapshot once the frame is read, or once
            `look` allowed its call: one policy allows it and judges it.
        state: of the conversation.
        frame: one JSON-RPC message, or a batch.
        direction: which way it travels.
        now: seconds on the session's clock.
        event: names the verdict.
        inspects: False if only the order of messages is checked, and not what they contain.
        is_member: True for a message of a batch.
        budgets: the cost that judging may still have; a batch shares one among its members. They
            are set before the frame is read if other frames wait for this one.
        waiting_room: holds a call until a person decides; None if it may not wait.
        waiting_call: a call judged again after waiting for a person's decision, or None.
        grant: the event that a person allowed, if the call is judged again for it; else empty.
        granted_mark: of the call that it allows.
        obstacles: that the server has met by now; None for most servers.
        is_plain: True for an ordinary call that policy and pins allow, or an ordinary result.
        sees_nothing: True if the look showed that `Detector.read_message` finds nothing.
        keeps_bytes: True for a result of which nothing may be taken out: it has a digest.
        kind: of the message.
        method: of the message; None for an answer.
        request: the one sent or answered; None for a notification.
        is_closed: True once `request` was looked up for an answer.
        is_late: True if an answer without a request was expected nevertheless.
        removed: findings about text that was removed from the frame, or put back into it, before
            it was judged.
        extra: other findings that do not decide about the rest of the message.
        pins: definitions to remember.
    """

    is_member = is_plain = sees_nothing = is_closed = is_late = keeps_bytes = False
    budgets: Budgets | None = None
    waiting_room: WaitingRoom | None = None
    waiting_call: PendingRequest | None = None
    grant = granted_mark = ""
    obstacles: Obstacles | None = None
    kind = MessageKind.REQUEST
    method: str | None = None
    request: PendingRequest | None = None
    removed: Findings = ()
    extra: Findings = ()
    pins: tuple[PinChange, ...] = ()

    def __init__(
        self,
        guard: Guard,
        state: ConversationState,
        frame: bytes,
        *,
        direction: Direction,
        now: float,
        event: str,
    ) -> None:
        self.guard = guard
        self.state = state
        self.frame = frame
        self.direction = direction
        self.now = now
        self.event = event
        self.inspects = guard.inspects

    def reopen(self) -> None:
        """Let the request wait again that an answer belongs to."""
        if self.is_closed and self.request is not None:
            self.state.reopen(self.direction, self.request)
