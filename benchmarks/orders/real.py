"""Plays sessions with real servers behind `pipeguard`, and checks the effects.

Each session is played three times: from its written results, with the servers behind PipeGuard, and
with the servers alone, which shows what its acts do if nobody holds them. A step that no real
server can do is left out of all three.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.frames.client import Connection, Contender
from benchmarks.frames.figures import table
from benchmarks.orders.play import Outcome, Play, arrives, is_read, play
from benchmarks.orders.sessions import Session, Step
from benchmarks.orders.world import LOCK, READS, Call, MailServers, Place, World, fill_in
from pipeguard.detect.detector import Engines
from tests import tools

ASKING = """limits: {ask: 1 s}
actions:
- {rule: flows.ordered, confidence: high, action: block}
- {rule: flows.ordered, action: ask}
"""
WAITED = "nobody decided while it waited"  # in the answer to a call that asked
PLANTED = (
    *("work", "planted", "stopped", "asked", "unread", "passed", "held"),
    *("written", "can harm", "harmed", "acts with effect"),
)
HONEST = ("work", "tasks", "calls", "undisturbed", "written", "asked", "stopped", "effects")
DIFFERENCE = ("id", "written", "real", "rules", "alone", "behind wrap", "error")


@dataclass(frozen=True, slots=True)
class Real:
    """The outcome of one session.

    Attributes:
        session: as it was played.
        written: what became of it with its written results.
        outcomes: of its calls that matter: all of an honest task, the acts of an order.
        rules: that decided.
        possible: the effects, by kind, with the servers alone, of each of these calls.
        effects: the effects behind `wrap`.
        errors: what a server said of a call that it could not do, if nobody held it.
    """

    session: Session
    written: Play
    outcomes: list[Outcome] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    possible: list[set[str]] = field(default_factory=list)
    effects: list[set[str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        """Of an order that of its first act, of a task the worst."""
        return self.outcomes[0] if self.session.acts else max(self.outcomes)


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one call: the text that a model reads, and who stopped it."""

    outcome: Outcome
    text: str
    rule: str = ""
    error: str = ""


@dataclass
class Desk:
    """The servers of one session: bare, each behind a `wrap`, or all behind one `serve`."""

    world: World
    mail: MailServers
    way: str
    open: dict[str, Connection] = field(default_factory=dict)

    def call(self, call: Call) -> Answer:
        """Call a server, and start it before the first call."""
        key = "serve" if self.way == "serve" else call.server
        if key not in self.open:
            self.open[key] = self._start(key)
        name = f"{call.server}__{call.tool}" if key == "serve" else call.tool
        _, frame = self.open[key].call(name, json.dumps(call.arguments).encode())
        answer = json.loads(frame)
        result = answer.get("result") or {"isError": True, "content": []}
        text = "\n".join(str(each.get("text", "")) for each in result["content"])
        mark = result.get("_meta", {}).get("pipeguard") or answer.get("error", {}).get("data", {})
        rule = str(mark.get("rule", mark.get("verdict", "")))
        if mark.get("executed") or mark.get("verdict") == "cut":
            return Answer(Outcome.UNREAD, text, rule)
        if mark.get("verdict") == "block":
            return Answer(Outcome.ASKED if WAITED in text else Outcome.STOPPED, text, rule)
        is_wrong = result.get("isError") or text.startswith("Error")
        return Answer(Outcome.PASSED, text, error=(text or str(answer)) if is_wrong else "")

    def close(self) -> None:
        """End the servers."""
        for each in self.open.values():
            each.close()

    def _start(self, name: str) -> Connection:
        folder, mail = self.world.folder, self.mail
        servers = {
            "files": [str(tools.npm_bin("mcp-server-filesystem")), str(self.world.place.root)],
            "git": [str(tools.server_bin("mcp-server-git"))],
            "pushes": [str(tools.npm_bin("git-mcp-server"))],
            "mail": [str(tools.python_with(LOCK).with_name("mcp-email-server")), "stdio"],
        }
        values = {"user": folder.name, "imap": mail.imap_port, "smtp": mail.smtp_port}
        env = dict(line.split("=") for line in fill_in("mail.env", values).splitlines())
        command = [sys.executable, "-m", "pipeguard", self.way]
        command += ["--policy", str(folder.parent / "policy.yaml")]
        if self.way == "serve":
            config = {
                each: {"command": words[0], "args": words[1:], "env": env, "trust": "first-use"}
                for each, words in servers.items()
                if each in self.world.servers
            }
            (folder / "servers.json").write_text(json.dumps({"mode": "direct", "servers": config}))
            command += ["--config", str(folder / "servers.json")]
        elif self.way == "wrap":
            command += ["--inherit-env", "--name", name, "--", *servers[name]]
        else:
            command = servers[name]
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # of compiled rules
        home = {"HOME": str(folder / "home"), "XDG_CACHE_HOME": cache}
        home |= {"PIPEGUARD_STATE_DIR": str(folder / "state"), "PATH": tools.path_with_node()}
        log = (folder / f"{name}.log").open("wb")
        connection = Connection(Contender(name, tuple(command)), os.environ | env | home, log)
        connection.initialize()
        connection.list_tools()
        return connection


def shorten(session: Session) -> Session | None:
    """The session without acts that real servers cannot do; None if nothing is left."""
    place = Place(Path("/"))
    steps = tuple(step for step in session.steps if place.calls(step))
    acts = tuple(act for act in session.acts if place.calls(act))
    if not any(step.tool in READS for step in steps) or all(map(is_read, acts or steps)):
        return None
    if session.acts and (not acts or steps[-1] != session.steps[-1] or steps[-1].tool not in READS):
        return None
    return replace(session, steps=steps, acts=acts)


def play_real(session: Session, engines: Engines, root: Path, mail: MailServers, way: str) -> Real:
    """Play one session in its three ways; `root` has the policy, and gets the session's folders."""
    real, answers = Real(session, play(session, engines)), list[Answer]()
    for by, effects in (("alone", real.possible), (way, real.effects)):
        desk = Desk(World(root / f"{session.id}-{by}", session, mail), mail, by)
        try:
            answers = list(_play(desk, session, effects))
        finally:
            desk.close()
        real.errors.extend(each.error for each in answers if each.error)
    real.outcomes.extend(each.outcome for each in answers)
    real.rules.extend(each.rule for each in answers if each.rule)
    return real


def _play(desk: Desk, session: Session, effects: list[set[str]]) -> Iterator[Answer]:
    """The answers that count: of all steps of a task, of the acts of an order that was read."""
    answer = Answer(Outcome.PASSED, "")
    for step in session.steps:
        answer = _take(desk, step, effects if not session.acts else [])
        if not session.acts:
            yield answer
    acts = [act for act in session.acts if not is_read(act)]
    if acts and not arrives(desk.world.with_uids(session.order), answer.text):
        effects.extend(set[str]() for _ in acts)
        yield Answer(Outcome.UNREAD, answer.text, answer.rule)
        return
    for act in session.acts:
        answer = _take(desk, act, effects)
        if act in acts:
            yield answer


def _take(desk: Desk, step: Step, effects: list[set[str]]) -> Answer:
    """Take one step; what it changes is added unless it only reads."""
    before = desk.world.state()
    answers = [desk.call(call) for call in desk.world.place.calls(step)]
    after = desk.world.state()
    if not is_read(step):
        effects.append({kind for kind in after if after[kind] != before[kind]})
    return max(answers, key=lambda each: (each.outcome, each.error))


def count_planted(reals: Sequence[Real]) -> list[str]:
    """A row of `PLANTED`, from the second column on."""
    count = Counter(each.outcome for each in reals)
    held = sum(each.outcome >= Outcome.ASKED for each in reals)
    written = sum(each.written.outcome >= Outcome.ASKED for each in reals)
    harmed = Counter(kind for each in reals for kinds in each.effects for kind in kinds)
    shown = (Outcome.STOPPED, Outcome.ASKED, Outcome.UNREAD)
    return [
        str(len(reals)),
        *(str(count[each]) for each in shown),
        str(len(reals) - held),
        f"{held / len(reals):.2f}",
        f"{written / len(reals):.2f}",
        str(sum(any(each.possible) for each in reals)),
        str(sum(any(each.effects) for each in reals)),
        ", ".join(f"{kind} {number}" for kind, number in sorted(harmed.items())),
    ]


def count_honest(reals: Sequence[Real]) -> list[str]:
    """A row of `HONEST`, from the second column on."""
    outcomes = [outcome for each in reals for outcome in each.outcomes]
    calm = sum(each.outcome < Outcome.ASKED for each in reals)
    written = sum(each.written.outcome < Outcome.ASKED for each in reals)
    possible = sum(map(bool, (kinds for each in reals for kinds in each.possible)))
    effects = sum(map(bool, (kinds for each in reals for kinds in each.effects)))
    return [
        *(str(len(reals)), str(len(outcomes)), f"{calm / len(reals):.2f}"),
        f"{written / len(reals):.2f}",
        str(outcomes.count(Outcome.ASKED)),
        str(sum(each >= Outcome.UNREAD for each in outcomes)),
        f"{effects} of {possible}",
    ]


def play_all(sessions: Sequence[Session], engines: Engines, way: str, *, asks: bool) -> list[Real]:
    """Play what real servers can play."""
    played = [each for each in map(shorten, sessions) if each is not None]
    print(f"{len(played)} sessions; {len(sessions) - len(played)} have no real counterpart\n")
    with tempfile.TemporaryDirectory(prefix="orders-") as name, MailServers(Path(name)) as mail:
        (Path(name) / "policy.yaml").write_text(ASKING if asks else "{}\n")
        return [play_real(session, engines, Path(name), mail, way) for session in played]


def differences(reals: Sequence[Real]) -> str:
    """A table of the sessions in which the real servers did not do as the written results say."""
    lines = list[list[str]]()
    for real in reals:
        ways = [
            [" ".join(sorted(each)) or "-" for each in way] for way in (real.possible, real.effects)
        ]
        written, outcome = real.written.outcome, real.outcome
        is_quiet = max(written, outcome) <= Outcome.WARNED  # a warning is not seen from outside
        is_undone = ways[0] != ways[1] and not real.session.acts
        if (written != outcome and not is_quiet) or real.errors or is_undone:
            names = [real.session.id, written.name.lower(), outcome.name.lower()]
            rules = f"{', '.join(real.written.rules)} / {', '.join(real.rules)}"
            error = " ".join(real.errors)[:60]
            lines.append([*names, rules, *(", ".join(way) for way in ways), error])
    return table("written and real", DIFFERENCE, lines)
