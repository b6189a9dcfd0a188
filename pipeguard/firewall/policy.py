"""From a finding to an action: values and one function; config.policy_file reads the file.

A policy is a stack of layers: the user's, and the project's on top, which may only tighten it. So
the action is the greatest that any layer asks for, a tool may be called if every layer allows it,
and a limit is the smallest of all layers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from fnmatch import fnmatchcase
from operator import itemgetter

from pipeguard.firewall.finding import Action, Confidence, Drift, Severity, tells_private
from pipeguard.firewall.protocol.framing import DEFAULT_LIMIT_BYTES
from pipeguard.firewall.protocol.places import Surface
from pipeguard.records import NamedTuple
from pipeguard.unicode.display import NAME_CHARS, show

DEFAULT_KEEP_DAYS = 90  # of the audit: as long as an exception of `pipeguard allow` lasts
DEFAULT_PENDING = 10_000  # requests without an answer, in each direction
# Per second and direction. Judging one takes some 10 us, so all of them take a tenth of a core's
# time; no client shows as many.
DEFAULT_NOTIFICATIONS = 10_000
DEFAULT_ASK_SECONDS = 50.0
ASKED = "policy.ask"  # the rule that finds each call of a tool of `tools.ask`
ORDERED = "flows.ordered"
# What a user may want, at high severity: a call that a text ordered, to log in with a password from
# a note, and a job such as a backup.
_PERHAPS_WANTED = ORDERED, "flows.secret-out", "commands.scheduled-job"
OWN_GUARD = "commands.own-guard"  # finds calls that change PipeGuard itself; no entry opens it
# The rules of which a stopped call is allowed once, not for good.
ALLOWED_BY_CALL = ("flows.", ASKED, "commands.client-servers")

Globs = tuple[str, ...]


class Mode(Enum):
    """The consequences of findings."""

    ENFORCE = "enforce"
    OBSERVE = "observe"  # everything is judged and recorded; no rule stops anything


class Trust(Enum):
    """The treatment of a definition that was not seen before."""

    FIRST_USE = "first-use"  # pinned if the scan finds nothing
    REVIEW = "review"  # held until a person approves it


class InClient(Enum):
    """The questions that the user answers in the client itself (MCP client/elicitation)."""

    NEVER = "never"
    URL = "url"  # the client opens the page, if it runs
    FORM = "form"  # a form also decides about a call that waits


class PolicyTarget(NamedTuple):
    """A finding as the selectors of a policy see it.

    Attributes:
        rule: the rule's id, as `secrets.github-token`.
        severity, confidence: of the finding.
        place: of the text that matched.
        server: the name of the guarded server.
        tool: the tool concerned, or None.
        surface: that it was judged for.
        is_cuttable: True for a passage in plain sight, in a text that can do without.
        is_call: True for a call, which can wait until a person decides.
        content: the keyed fingerprint of the text found; empty without a key.
        paths: of the files that the call names, if that is certain.
        hosts: that it names, if that is certain.
    """

    rule: str
    severity: Severity
    confidence: Confidence
    place: str
    server: str
    tool: str | None
    surface: Surface = Surface.TO_SERVER
    is_cuttable: bool = False
    content: str = ""
    paths: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    is_call: bool = False


class Selector(NamedTuple):
    """Globs and thresholds that a target must all fit; `*` fits anything.

    The last three are for exceptions, and empty if they do not restrict. A call that names several
    files or hosts fits only if each of them does.
    """

    rule: str = "*"
    place: str = "*"
    server: str = "*"
    tool: str = "*"
    severity: Severity | None = None  # at least
    confidence: Confidence | None = None  # at least
    content: str = ""  # fingerprints, of which one fits
    path: str = ""
    host: str = ""

    def fits(self, target: PolicyTarget) -> bool:
        """True if every part fits."""
        return (
            fnmatchcase(target.rule, self.rule)
            and fnmatchcase(target.place, self.place)
            and fnmatchcase(target.server, self.server)
            and (self.tool == "*" or fnmatchcase(target.tool or "", self.tool))
            and (self.severity is None or target.severity >= self.severity)
            and (self.confidence is None or target.confidence >= self.confidence)
            and (not self.content or target.content in self.content.split())
            and (not (self.path or self.host) or self._fits_call(target))
        )

    def _fits_call(self, target: PolicyTarget) -> bool:
        """True if a call names files and hosts that fit, and no others."""
        return (
            bool(target.paths) is bool(self.path)
            and bool(target.hosts) is bool(self.host)
            and all(fnmatchcase(path, self.path) for path in target.paths)
            and all(fnmatchcase(host, self.host) for host in target.hosts)
        )


class ActionEntry(NamedTuple):
    """An entry of `actions`: the action for targets that fit the selector."""

    where: Selector
    action: Action


class Exempt(NamedTuple):
    """An entry of `exceptions`: a false alarm that a person allowed.

    Attributes:
        where: the rule, place, server and tool that it applies to.
        why: the person's reason.
        until: seconds on the session's clock after which it no longer applies, or None.
    """

    where: Selector
    why: str
    until: float | None = None


class Limits(NamedTuple):
    """Limits on a peer's requests to us.

    Attributes:
        frame_bytes: of one frame.
        pending: requests without an answer, in each direction.
        notifications: per second and direction; beyond, progress and logs are dropped.
        timeout_seconds: after which we answer a request ourselves; None for never.
        ask_seconds: for which a call waits until a person decides; most clients wait for 60.
    """

    frame_bytes: int = DEFAULT_LIMIT_BYTES
    pending: int = DEFAULT_PENDING
    notifications: int = DEFAULT_NOTIFICATIONS
    timeout_seconds: float | None = None
    ask_seconds: float = DEFAULT_ASK_SECONDS


class Layer(NamedTuple):
    """The contents of one policy file.

    Attributes:
        actions: the first entry that fits decides.
        exceptions: findings that pass, with a note in the audit.
        tools_allow: globs of tools that may be called; empty for all.
        tools_block: globs of tools that may not.
        tools_ask: globs of tools whose calls wait for a person.
        defaults: True if findings that fit no entry get the default action.
        origin: whose file it is, for people.
        servers_allow: globs of what may be launched, as `npm @scope/*`; empty for all.
        servers_block: globs of what may not.
    """

    actions: tuple[ActionEntry, ...] = ()
    exceptions: tuple[Exempt, ...] = ()
    tools_allow: Globs = ()
    tools_block: Globs = ()
    tools_ask: Globs = ()
    defaults: bool = True
    origin: str = "the policy"
    servers_allow: Globs = ()
    servers_block: Globs = ()

    def decide(self, target: PolicyTarget, now: float) -> tuple[Action, str]:
        """The action that this layer asks for, and the part of it that does."""
        if self.exempts(target, now):
            return Action.ALLOW, "an exception"
        for number, entry in enumerate(self.actions, 1):
            if entry.where.fits(target):
                source = "" if self.defaults else f" in {self.origin}"
                return entry.action, f"entry {number} of `actions`{source}"
        if self.defaults:
            return default_action(target), "the default"
        return Action.ALLOW, "no entry"

    def exempts(self, target: PolicyTarget, now: float) -> bool:
        """True if an exception lets a finding pass."""
        return any(
            (exempt.until is None or now < exempt.until) and exempt.where.fits(target)
            for exempt in self.exceptions
        )

    def calls(self, tool: str) -> bool:
        """True if this layer allows calls of a tool."""
        return passes(tool, self.tools_allow, self.tools_block)


def fits_any(name: str, globs: Iterable[str]) -> bool:
    """True if a name fits one of several globs."""
    return any(fnmatchcase(name, glob) for glob in globs)


def passes(name: str, allow: Collection[str], block: Iterable[str]) -> bool:
    """True if no glob of a list blocks a name, and one of the other allows it, if it has any."""
    return not fits_any(name, block) and (not allow or fits_any(name, allow))


class Policy(NamedTuple):
    """Actions for findings, tools that may be called, and limits on peers.

    `approved` has definitions that the organisation approved, each as what is launched, a blank and
    the fingerprint.
    """

    mode: Mode = Mode.ENFORCE
    trust: Trust = Trust.FIRST_USE
    layers: tuple[Layer, ...] = (Layer(),)
    limits: Limits = Limits()
    drift_allow: frozenset[Drift] = frozenset()
    stop_without_audit: bool = False
    audit_keep_days: int = DEFAULT_KEEP_DAYS  # 0 for ever
    ask_in_client: InClient = InClient.URL
    follows_client: bool = True  # through all its servers, or else through each alone
    approved: frozenset[str] = frozenset()

    @property
    def observes(self) -> bool:
        """True if no rule stops anything."""
        return self.mode is Mode.OBSERVE

    def action(self, target: PolicyTarget, now: float) -> Action:
        """The action for a finding; in `observe` at most WARN."""
        return self.limit(self.decide(target, now)[0])

    def limit(self, enforced: Action) -> Action:
        """The action that is taken where the policy asks for one."""
        return min(enforced, Action.WARN) if self.observes else enforced

    def decide(self, target: PolicyTarget, now: float) -> tuple[Action, str]:
        """The greatest action that any layer asks for, and why.

        A block if it cannot be cut or wait.
        """
        if target.rule == OWN_GUARD:
            return Action.BLOCK, "no policy allows it"
        action, why = max((layer.decide(target, now) for layer in self.layers), key=itemgetter(0))
        cannot_cut = action is Action.CUT and not target.is_cuttable
        if cannot_cut or (action is Action.ASK and not target.is_call):
            return Action.BLOCK, f"{why}, in place of {action.name.lower()}"
        return action, why

    def exempts(self, target: PolicyTarget, now: float) -> bool:
        """True if an exception lets a finding pass, and no layer asks for more nevertheless."""
        is_exempt = any(layer.exempts(target, now) for layer in self.layers)
        return is_exempt and self.decide(target, now)[0] is Action.ALLOW

    def asks_user(self, tool: str) -> bool:
        """True if each call of a tool waits for a person."""
        return any(fits_any(tool, layer.tools_ask) for layer in self.layers)

    def freedom(self, tool: str) -> int:
        """2 if a tool may be called, 1 if the user is asked each time, 0 if it may not."""
        return 2 - self.asks_user(tool) if self.calls(tool) else 0

    @property
    def version(self) -> str:
        """A text that differs if policies may decide differently; without exceptions."""
        layers = [layer._replace(exceptions=()) for layer in self.layers]
        drifts = sorted(drift.value for drift in self.drift_allow)
        return repr((self.mode, self.trust, layers, drifts, sorted(self.approved)))

    @property
    def called_tools(self) -> list[tuple[Globs, Globs]]:
        """The globs of allowed and of blocked tools of each layer, if they apply."""
        layers = () if self.observes else self.layers
        return [(layer.tools_allow, layer.tools_block) for layer in layers]

    def hides(self, tool: str) -> bool:
        """True if a tool is left out of lists because each call of it would be refused."""
        return not (self.observes or self.calls(tool))

    def calls(self, tool: str) -> bool:
        """True if every layer allows calls of a tool."""
        return not self.find_refusal(tool)

    def find_refusal(self, tool: str) -> str:
        """The origin of the layer that does not allow calls of a tool; empty if all do."""
        return next((layer.origin for layer in self.layers if not layer.calls(tool)), "")

    def explain_stop(self, launched: tuple[str, ...]) -> str:
        """Explain why a server may not run, in any mode; empty if it may.

        Args:
            launched: everything that its command line launches, as `npm @scope/name`.
        """
        for layer in reversed(self.layers):  # the user's, which may have any number of globs, last
            for thing in launched or ("code",):
                if not passes(thing, layer.servers_allow, layer.servers_block):
                    return (
                        f"{show(thing, NAME_CHARS)} may not run: {layer.origin} does not allow it"
                    )
        return ""


def default_action(target: PolicyTarget) -> Action:
    """Block a finding that is both severe and sure, warn of the rest.

    Ask about what a user may want.

    A credential on its way to the client is removed, so that the rest can be read, and so is a
    passage in plain sight. Words that a model will read are only noted if confidence is low, as for
    a quoted attack.
    """
    if target.rule == ASKED:
        return Action.ASK
    is_private = tells_private(target.rule)
    if target.severity >= Severity.HIGH and target.confidence is Confidence.HIGH:
        if target.is_cuttable:
            return Action.CUT
        if target.severity is Severity.HIGH and target.rule in _PERHAPS_WANTED:
            return Action.ASK
        is_taken_out = target.surface is Surface.TO_CLIENT and is_private
        return Action.REDACT if is_taken_out else Action.BLOCK
    is_read = target.surface is not Surface.TO_SERVER and not is_private
    return Action.ALLOW if is_read and target.confidence is Confidence.LOW else Action.WARN
