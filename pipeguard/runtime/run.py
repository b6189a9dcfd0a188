"""One run of `wrap`: its guard, its records, and its background work.

Serves every transport; knows no channel and no process of the server.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread, stack_size
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from pipeguard.config.directories import cache_folder
from pipeguard.config.options import WrapOptions
from pipeguard.detect.clean_texts import HANDSHAKE
from pipeguard.detect.detector import DetectionSource, Engines
from pipeguard.errors import PipeGuardError, PolicyError, Refusal, StateError
from pipeguard.firewall.finding import (
    SHOWN,
    Action,
    Finding,
    MessageKind,
    Verdict,
    enforced_action,
    tells_private,
)
from pipeguard.firewall.policy import Mode, Policy, Trust
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.protocol.strict_json import STACK_BYTES
from pipeguard.firewall.session.events import PinsChanged, PolicyChanged
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.lifecycle import WaitingRoom
from pipeguard.firewall.session.remedies import is_held_verdict
from pipeguard.firewall.session.session import Session
from pipeguard.identity.server_name import Launched
from pipeguard.identity.things import find_loading
from pipeguard.log import Log, make_say
from pipeguard.rulebook.cache import open_engines
from pipeguard.rulebook.compiled_file import CleanNames
from pipeguard.runtime.numbers import name_variables
from pipeguard.runtime.policy_watch import PolicyWatch, loosens
from pipeguard.runtime.progress import COMPILING, say_if_slow
from pipeguard.runtime.recording import Recording
from pipeguard.secrets_in_use import IN_USE
from pipeguard.state.audit import LOOSENED
from pipeguard.state.client_notes import ClientNotes
from pipeguard.state.contents_key import contents_key
from pipeguard.state.grants import StoredGrants
from pipeguard.state.paths import note_own_paths, store_file
from pipeguard.state.pins import Namesake
from pipeguard.state.recorder import Recorder
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.store import ask_store, open_store
from pipeguard.state.verdict_writer import EndedConnection
from pipeguard.transports.pump import take_event

STOPPED = "policy.server"  # a running server that the policy no longer allows
MOST_CLIENTS = 4096  # with remembered names
LAST_SECONDS = 2.0  # for a thread to end
IDLE_SECONDS = 0.05  # most servers still boot after this, and we are idle
SETTLED_SECONDS = 5.0  # after which a start is over, and the audit is pruned
if TYPE_CHECKING:
    from pipeguard.detect.scanning.engine import Engine
    from pipeguard.state.finding_log import FindingLog

_T = TypeVar("_T")
_COUNTED = {
    Action.BLOCK: "blocked",
    Action.ASK: "asked",
    Action.CUT: "cut",
    Action.REDACT: "redacted",
    Action.WARN: "warned",
}


class _RunTally:
    """Counts messages by PipeGuard's reaction to them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()  # both directions, and whatever else judges, count here

    def add(self, verdict: Verdict) -> None:
        """Count a message with findings."""
        enforced = max(map(enforced_action, verdict.findings))
        would = enforced > verdict.action and enforced > Action.WARN
        name = "would_be_stopped" if would else _COUNTED.get(verdict.action)
        self.count("held" if name == "blocked" and is_held_verdict(verdict) else name)

    def count(self, name: str | None) -> None:
        """Count a message or a connection by PipeGuard's reaction, if there was one."""
        if name is not None:
            with self._lock:
                self._counts[name] += 1

    def tell(self, log: FindingLog) -> None:
        """Log the counts of the run, if there are any."""
        counts = dict(self._counts)
        if counts:
            level = "info" if counts.keys() <= {"warned"} else "warning"
            log(level, "the session has ended", **counts)


class Run:
    """One run of a server: its guard, and the record of its verdicts.

    Attributes:
        log: for people.
        guard: rules, policy and pins.
        grants: of stopped calls.
        session: takes changes of pins and policy for all Sessions of the server; also the one that
            judges, if there is only one.
        engines: returns the compiled rules.
        clean_names: hashes of texts found clean in earlier runs, with which runs begin.
        name: of the run: events begin with it.
        store: the file of pins and audit.
        notes: that its ledgers share with others of their clients.
        over: set once the run ends.
        on_stopped: takes each verdict that stops something, if it has a row in the audit.
        on_answer: takes each verdict on an answer to a question of PipeGuard's own.
        audits: False if nothing is written to the audit.
        asked_in_results: the events of calls that continue to wait when their clients repeat them.
        on_loss: called once, by the recorder, when rows of the audit are lost.
        stopped: why the policy no longer allows the server; empty if it does.
        on_stop: called once, in another thread, when it no longer does.
        recording: of its clients' sessions.
    """

    on_loss: Callable[[], object] | None = None
    on_stop: Callable[[], object] = staticmethod(lambda: None)
    on_stopped: Callable[[Verdict], object] = staticmethod(lambda _: None)
    on_answer: Callable[[Verdict], object] = staticmethod(lambda _: None)
    stopped = ""
    _pruning: Thread | None = None
    _refused = _noticed = _connected = 0

    def __init__(
        self,
        launched: Launched,
        options: WrapOptions,
        changed: Callable[[frozenset[str]], None],
        engines: Engines | None = None,
        log: Log | None = None,
    ) -> None:
        """Load everything needed for judging.

        Args:
            launched: identifies the server, and names it if no option does.
            options: of the command line.
            changed: called in another thread with the kinds that a client should list again.
            engines: the compiled rules, if they are loaded already.
            log: for people, if it is not the one that the options describe.

        Raises:
            PipeGuardError: rules, policy or store do not load.
        """
        make_say(options.values.get("--log-format"))
        self.log = log or Log(options.values.get("--log-level"), options.values.get("--log-format"))
        self._policy_watch = PolicyWatch(options)
        policy = self._policy_watch.policy
        self._things = list_things(launched, options)
        require_allowed(policy, self._things)
        self.audits = "--no-audit" not in options.flags
        if policy.stop_without_audit and not self.audits:
            raise PolicyError("--no-audit: the policy says `audit.on_failure: stop`.")
        key, self.engines = _find_engines(engines)
        self.store = store_file()
        note_own_paths(options)
        name, needs_review = options.values.get("--name", ""), policy.trust is Trust.REVIEW
        server, pins, namesake = ask_store(
            self.store, lambda opened: opened.load_server(name, launched, hold=needs_review)
        )
        self._warn_of_other_name(namesake, server)
        self.log.server, self.name = server, make_run_id()
        self.clean_names = CleanNames(cache_folder(), key)
        self.detection = DetectionSource(self.engines, os.urandom(32), IN_USE, self.clean_names)
        self.guard = Guard(server, self.detection, policy, pins)
        self.guard.is_remote = launched.is_elsewhere
        self.guard.launched = launched.description if len(self._things) == 1 else ""
        self.guard.contents_key = contents_key(self.store)
        self.grants = self.guard.shared.grants = StoredGrants(self.store)
        self.session = Session(self.guard, self.name, waiting_room=WaitingRoom())
        self._recorder = Recorder(
            self.store,
            server,
            self.name if self.audits else None,
            log=self.log,
            pins=pins,
            on_pins=lambda pins: changed(self._take(PinsChanged(pins, monotonic()))),
            needs_review=needs_review,
        )
        self._clients: dict[str, str] = {}  # by the conversation that an event's name begins with
        self._tokens: dict[str, str] = {}  # the names of clients' tokens, by the same
        self.over, self.notes = Event(), ClientNotes(self.notice, is_used=policy.follows_client)
        self.recording = Recording(options, key, self._recorder)
        self._tally, self.asked_in_results, self._loads_late = _RunTally(), dict[str, None](), False
        self.on_policy, self._changed = list[Callable[[], None]](), changed

    def _warn_of_other_name(self, namesake: Namesake | None, server: str) -> None:
        """Warn if the wanted name belongs to another server."""
        if namesake is not None:
            what = f"another server already has the name {namesake.name}; this one is recorded as"
            self.log_unless_gone("warning", f"{what} {server}", has_the_name=namesake.launched)

    def begin(self) -> None:
        """Start the background work."""
        if self.guard.policy.mode is Mode.OBSERVE:
            self.log_unless_gone(
                "warning",
                "observing: no rule stops anything; the audit says what would have been stopped",
            )
        follow = self._policy_watch.follow
        start_thread("policy", lambda: follow(self._adopt, self.log_unless_gone, self.over))
        if self.audits and self.guard.policy.audit_keep_days > 0:
            self._pruning = start_thread("prune", self._prune)

    def _adopt(self, policy: Policy) -> None:
        # First, because all the rest may take a while, or fail.
        if not self.stopped and (why := policy.explain_stop(self._things)):
            self.stopped = why
            self.on_stop()
            self.notice(Finding(STOPPED, "envelope", action=Action.BLOCK, note=why))
        before = self.guard.policy
        kinds = self._take(PolicyChanged(policy, monotonic()))
        if loosens(policy, before):
            note = "the policy in force stops less than before"
            self.notice(Finding(LOOSENED, "envelope", action=Action.WARN, note=note))
        if kinds:
            self._changed(kinds)
        for changed in tuple(self.on_policy):  # a server that ends takes its own away
            changed()

    def adjust(self, adjusted: Callable[[Policy], Policy]) -> None:
        """Adjust the policy for this server, also after it changes."""
        self._policy_watch.adjust(adjusted)
        self._take(PolicyChanged(self._policy_watch.policy, monotonic()))

    def _take(self, event: PinsChanged | PolicyChanged) -> frozenset[str]:
        """Let all Sessions of the server adopt a change; return the kinds to list again."""
        return take_event(self.session, event, self.record).kinds

    def begin_loading(self) -> None:
        """Load the rules in a thread of its own: they may have to be compiled first.

        If earlier runs found the first texts clean, load no rule before another text comes.
        """
        self._awaited = Surface.DEFINITIONS
        if self.clean_names:
            self._loads_late = True
        else:
            start_thread("load", self._load)

    def _load(self) -> None:
        with suppress(PipeGuardError, ImportError):  # each frame raises it again, and is refused
            self.detection.load(Surface.TO_SERVER)
            self.detection.load(Surface.TO_CLIENT)

    def prepare(self) -> None:
        """Load everything needed for the first list of definitions, unless earlier runs know it.

        Then the first call needs the engines' modules, at least; and once it came, results are
        awaited, and no other definitions.
        """
        with suppress(PipeGuardError, ImportError):  # as above
            if self._loads_late:
                self.engines()
            else:
                self.detection.prepare(self._awaited)

    def _load_late(self) -> None:
        self._awaited = Surface.DEFINITIONS if self.clean_names.new else Surface.TO_CLIENT
        self._load()
        if not self.over.wait(IDLE_SECONDS):  # judging needs the processor first
            self.prepare()

    def log_unless_gone(self, level: str, event: str, **fields: object) -> None:
        """Log one line, if the log is read."""
        with suppress(OSError, ValueError):  # standard error is closed
            self.log(level, event, **fields)

    def follow_approvals(self) -> None:
        """Follow approvals from now on, although there is no verdict yet."""
        self._recorder.start()

    def record(self, verdict: Verdict) -> bool:
        """Record a verdict; False if it cannot be recorded, and nothing may pass then."""
        if self._loads_late and (verdict.method not in HANDSHAKE or self.clean_names.new):
            self._loads_late = False
            start_thread("load", self._load_late)
        if verdict.findings and self._note_findings(verdict):
            return self._may_pass()
        conversation = verdict.event.rpartition(".")[0]
        if verdict.method == "initialize" and verdict.kind is MessageKind.REQUEST:
            holds_secret = any(tells_private(finding.rule) for finding in verdict.findings)
            client = "" if holds_secret else _read_client(verdict.frame)
            remember(self._clients, conversation, client, MOST_CLIENTS)
        self._recorder.client = self._clients.get(conversation, "")
        token = self._recorder.token = self._tokens.pop(conversation, "")
        if token:
            self._tokens[conversation] = token  # as the last that would be dropped
        is_dropped = verdict.forward is None and not verdict.findings
        if is_dropped and verdict.kind is MessageKind.NOTIFICATION:
            return True  # one of a flood, which has a row already
        if verdict.question:
            self.on_answer(verdict)
        self._recorder.record(mask_verdict(verdict) if IN_USE and verdict.findings else verdict)
        if self._recorder.missing and self.on_loss is not None:
            on_loss, self.on_loss = self.on_loss, None
            on_loss()
        return self._may_pass()

    def _note_findings(self, verdict: Verdict) -> bool:
        """Count findings, and ask about them; True for a wait that has its row already."""
        if verdict.action is Action.ASK and verdict.event in self.asked_in_results:
            return True
        self._tally.add(verdict)
        if verdict.action >= Action.ASK and self.audits:
            self.on_stopped(verdict)
        return False

    def _may_pass(self) -> bool:
        """False if a verdict cannot be recorded, and the policy then stops everything."""
        is_whole = self._recorder.healthy and not self._recorder.missing
        return is_whole or not self.guard.policy.stop_without_audit

    @property
    def lost_rows(self) -> int:
        """The rows of this run that will not be in the audit."""
        return self._recorder.missing

    def name_token(self, conversation: str, token: str) -> None:
        """Set the name of the token of a conversation's client for the audit.

        Of a sign-in (auth.identity_key), that is the first line: the subject.
        """
        remember(self._tokens, conversation, token.partition("\n")[0], MOST_CLIENTS)

    def find_token(self, event: str) -> str:
        """The name of the token of the client whose conversation an event belongs to, or empty."""
        return self._tokens.get(event.rpartition(".")[0], "")

    def refuse(self, finding: Finding, client: str) -> None:
        """Record refused HTTP requests, which have no verdict.

        Args:
            finding: the reason, and the count.
            client: the address of the first one's client.
        """
        self._refused += 1
        self._recorder.refuse(finding, client, f"{self.name}.e{self._refused}")

    def notice(self, finding: Finding) -> None:
        """Record a finding that concerns no single message."""
        self._noticed += 1
        self._recorder.notice(finding, f"{self.name}.n{self._noticed}")

    def connect(self, connection: EndedConnection) -> str:
        """Record a connection of the sandboxed server; one with a finding is an event.

        Returns:
            The event's name, or empty.
        """
        event = ""
        if connection.finding is not None:
            self._connected += 1
            event = f"{self.name}.x{self._connected}"
            self._tally.count(_COUNTED.get(connection.finding.action))
        self._recorder.connect(connection, event)
        return event

    def close(self) -> None:
        """Write all records."""
        self.over.set()
        self.notes.close()
        self._recorder.close()
        with suppress(OSError):  # the next run reads the texts again
            self.clean_names.save()
        self._tally.tell(self.log_unless_gone)
        if self._pruning is not None:
            self._pruning.join(LAST_SECONDS)

    def _prune(self) -> None:
        """Remove the oldest rows of the audit, once the start is over."""
        self.over.wait(SETTLED_SECONDS)
        from datetime import UTC, datetime

        from pipeguard.state.retention import prune

        try:
            with open_store(self.store) as store:
                prune(store, self.guard.policy.audit_keep_days, datetime.now(UTC))
        except StateError as error:
            self.log_unless_gone("warning", "the audit could not be pruned", why=str(error))


class Mask:
    """Masks secrets in free text, with an engine of its own that is made at its first use.

    Args:
        compiled: returns the engines.
    """

    def __init__(self, compiled: Callable[[], Engines]) -> None:
        self._compiled = compiled
        self._engine: Engine | None = None

    def __call__(self, text: bytes) -> bytes:
        """The text without secrets."""
        self._engine = self._engine or self._compiled().to_server.clone()
        return self._engine.mask(IN_USE.masked_bytes(text))


def list_things(launched: Launched, options: WrapOptions) -> tuple[str, ...]:
    """Everything that a run launches, with variables of which its program would load code."""
    names = name_variables(options) if options.command else ()
    return (*launched.things, *find_loading(names))


def require_allowed(policy: Policy, things: tuple[str, ...]) -> None:
    """Raise PolicyError if a policy does not allow a server that launches all this."""
    if why := policy.explain_stop(things):
        raise PolicyError(f"{why}.")


def _find_engines(engines: Engines | None) -> tuple[bytes, Callable[[], Engines]]:
    """The key of the rules, and a function that returns the engines; it loads them once."""
    if engines is not None:
        return engines.definitions.key, lambda: engines
    with say_if_slow(COMPILING):
        key, load = open_engines()
    lock, loaded = Lock(), list[Engines]()

    def load_once() -> Engines:
        with lock:
            if not loaded:
                loaded.append(load())
        return loaded[0]

    return key, load_once


def mask_verdict(verdict: Verdict) -> Verdict:
    """A verdict without secrets of ours in its texts."""
    texts = "excerpt", "note", "tool", "path", "host", *SHOWN
    findings = []
    for finding in verdict.findings:
        masked: dict[str, Any] = {
            name: IN_USE.mask(text) for name in texts if (text := getattr(finding, name))
        }
        findings.append(finding._replace(**masked))
    return verdict._replace(
        findings=tuple(findings),
        method=None if verdict.method is None else IN_USE.mask(verdict.method),
        tool=None if verdict.tool is None else IN_USE.mask(verdict.tool),
    )


def remember(memory: dict[str, _T], key: str, value: _T, most: int) -> None:
    """Store a value; drop the oldest ones beyond a number."""
    while len(memory) >= most:
        del memory[next(iter(memory))]
    memory[key] = value


def start_thread(name: str, work: Callable[[], object]) -> Thread:
    """Start a daemon thread whose stack is large enough to parse frames."""
    stack_size(STACK_BYTES)
    thread = Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def make_run_id() -> str:
    """A random name for this run: eight letters and digits, 40 bits."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no two look alike
    number = int.from_bytes(os.urandom(5), "big")
    return "".join(alphabet[number >> shift & 31] for shift in range(35, -1, -5))


def _read_client(frame: bytes) -> str:
    """The client's name and version in its `initialize`."""
    with suppress(Refusal):
        message = parse(frame)
        info = message.params.get("clientInfo") if isinstance(message, Message) else None
        if isinstance(info, dict):
            words = (info.get("name"), info.get("version"))
            return " ".join(word[:MAX_NAME_CHARS] for word in words if isinstance(word, str))
    return ""
