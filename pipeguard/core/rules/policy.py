"""From a finding to an action. Values and one function; the file is read by settings.

A policy is a stack of layers: the user's, and the project's on top, which may only tighten.
So the action is the greatest that any layer asks for, a tool is callable where every layer
lets it be, and a limit is the least of them.
"""

from __future__ import annotations

from enum import Enum
from fnmatch import fnmatchcase
from typing import NamedTuple

from pipeguard.core.finding import Action, Confidence, Drift, Severity
from pipeguard.core.protocol.framing import DEFAULT_LIMIT_BYTES
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.rule import tells_private

DEFAULT_KEEP_DAYS = 90  # of the audit: as long as an exception of `pipeguard allow` lasts
DEFAULT_PENDING = 10_000  # requests without an answer, in each direction
# In a second and in each direction. Judging one takes some 10 us, so all of them a tenth of a
# core's time; no client shows as many.
DEFAULT_NOTIFICATIONS = 10_000


class Mode(Enum):
    """Whether findings have consequences."""

    ENFORCE = "enforce"
    OBSERVE = "observe"  # everything is judged and recorded; no rule stops anything


class Trust(Enum):
    """What happens to a definition that was never seen."""

    FIRST_USE = "first-use"  # what scans clean is pinned
    REVIEW = "review"  # held until a person approves it


class PolicyTarget(NamedTuple):
    """What an entry of a policy is matched against.

    Attributes:
        rule: the rule's id, as `secrets.github-token`.
        severity: of the finding.
        confidence: of the finding.
        place: where it was seen.
        server: the name of the guarded server.
        tool: the tool concerned, or None.
        surface: what it was judged for.
    """

    rule: str
    severity: Severity
    confidence: Confidence
    place: str
    server: str
    tool: str | None
    surface: Surface = Surface.TO_SERVER


class Selector(NamedTuple):
    """Globs that a subject must fit, all of those given; `*` stands for anything."""

    rule: str = "*"
    place: str = "*"
    server: str = "*"
    tool: str = "*"
    severity: Severity | None = None  # at least
    confidence: Confidence | None = None  # at least

    def fits(self, subject: PolicyTarget) -> bool:
        """True where every given part fits."""
        return (
            fnmatchcase(subject.rule, self.rule)
            and fnmatchcase(subject.place, self.place)
            and fnmatchcase(subject.server, self.server)
            and (self.tool == "*" or fnmatchcase(subject.tool or "", self.tool))
            and (self.severity is None or subject.severity >= self.severity)
            and (self.confidence is None or subject.confidence >= self.confidence)
        )


class ActionEntry(NamedTuple):
    """An entry of `actions`: what to do where the selector fits."""

    where: Selector
    action: Action


class Exempt(NamedTuple):
    """An entry of `exceptions`: a false alarm that a person allowed.

    Attributes:
        where: rule, place, server and tool that it holds for.
        why: the person's reason.
        until: seconds on the session's clock after which it no longer holds, or None.
    """

    where: Selector
    why: str
    until: float | None = None


class Limits(NamedTuple):
    """What a peer may ask of us.

    Attributes:
        frame_bytes: of one frame.
        pending: requests without an answer, in each direction.
        notifications: in a second and in each direction; beyond, progress and logs are dropped.
        timeout_seconds: after which a request is answered by us; None for never.
    """

    frame_bytes: int = DEFAULT_LIMIT_BYTES
    pending: int = DEFAULT_PENDING
    notifications: int = DEFAULT_NOTIFICATIONS
    timeout_seconds: float | None = None


class Layer(NamedTuple):
    """One file's wishes.

    Attributes:
        actions: the first entry that fits decides.
        exceptions: findings that are let through with a note in the audit.
        tools_allow: globs of tools that may be called; empty for all.
        tools_block: globs of tools that may not.
        defaults: True where findings that no entry fits get the default action.
    """

    actions: tuple[ActionEntry, ...] = ()
    exceptions: tuple[Exempt, ...] = ()
    tools_allow: tuple[str, ...] = ()
    tools_block: tuple[str, ...] = ()
    defaults: bool = True

    def action(self, subject: PolicyTarget, now: float) -> Action:
        """What this layer asks for."""
        for exempt in self.exceptions:
            if (exempt.until is None or now < exempt.until) and exempt.where.fits(subject):
                return Action.ALLOW
        for entry in self.actions:
            if entry.where.fits(subject):
                return entry.action
        return default_action(subject) if self.defaults else Action.ALLOW

    def calls(self, tool: str) -> bool:
        """True where this layer lets a tool be called."""
        if self.tools_block and any(fnmatchcase(tool, p) for p in self.tools_block):
            return False
        return not self.tools_allow or any(fnmatchcase(tool, p) for p in self.tools_allow)


class Policy(NamedTuple):
    """What to do about findings, which tools may be called, and what peers may ask of us."""

    mode: Mode = Mode.ENFORCE
    trust: Trust = Trust.FIRST_USE
    layers: tuple[Layer, ...] = (Layer(),)
    limits: Limits = Limits()
    drift_allow: frozenset[Drift] = frozenset()
    stop_without_audit: bool = False
    audit_keep_days: int = DEFAULT_KEEP_DAYS  # 0 for ever

    def action(self, subject: PolicyTarget, now: float) -> Action:
        """The greatest action that any layer asks for; in `observe` nothing above WARN."""
        action = max(layer.action(subject, now) for layer in self.layers)
        return min(action, Action.WARN) if self.mode is Mode.OBSERVE else action

    @property
    def ends(self) -> bool:
        """True where an exception does not hold for ever."""
        return any(one.until is not None for layer in self.layers for one in layer.exceptions)

    def sooner(self, seconds: float) -> Policy:
        """The same, its exceptions ending so much sooner on the session's clock."""
        layers = tuple(
            layer._replace(
                exceptions=tuple(
                    one._replace(until=None if one.until is None else one.until - seconds)
                    for one in layer.exceptions
                )
            )
            for layer in self.layers
        )
        return self._replace(layers=layers)

    def calls(self, tool: str) -> bool:
        """True where every layer lets a tool be called."""
        return all([layer.calls(tool) for layer in self.layers])  # noqa: C419  a list is faster


def default_action(subject: PolicyTarget) -> Action:
    """Block what is both bad and certain; warn of the rest.

    A credential on its way to the client is taken out, so that the rest can be read. Words that a
    model will read are only noted where little speaks for them, as an attack that is quoted.
    """
    is_private = tells_private(subject.rule)
    if subject.severity >= Severity.HIGH and subject.confidence is Confidence.HIGH:
        is_told = subject.surface is Surface.TO_CLIENT and is_private
        return Action.REDACT if is_told else Action.BLOCK
    is_read = subject.surface is not Surface.TO_SERVER and not is_private
    return Action.ALLOW if is_read and subject.confidence is Confidence.LOW else Action.WARN
