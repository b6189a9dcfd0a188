"""Servers that nothing stands before."""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import PostureCheck, PostureFinding
from pipeguard.clients.catalog import ConfigScope
from pipeguard.clients.entries import Config, GuardState, ServerEntry
from pipeguard.core.finding import Severity

UNGUARDED = PostureCheck(
    "server-not-guarded",
    "A server is not guarded",
    Severity.MEDIUM,
    "What goes to this server and what comes from it reaches the model as it is: secrets leave, "
    "orders in results arrive, and tools that change after they were trusted are not noticed.",
    "Put the guard before it. `setup` changes the entry and nothing beside it, and `--undo` gives "
    "back what was there.",
    "pipeguard setup CLIENT --server=NAME",
    '{"command": "npx", "args": ["-y", "srv@1.4.2"]}',
    '{"command": "/usr/local/bin/pipeguard", "args": ["wrap", "--", "npx", "-y", "srv@1.4.2"]}',
)
CANNOT = PostureCheck(
    "server-cannot-be-guarded",
    "A server cannot be guarded as its entry stands",
    Severity.LOW,
    "The reason is told with it. Often it is a login that the client makes by itself, or a value "
    "that the client would not replace in its new place.",
    "Do what the reason says. For a login, let PipeGuard hold it, and guard the server then.",
    "pipeguard auth login URL",
)
STALE = PostureCheck(
    "launcher-gone",
    "A server is guarded by a pipeguard that is not there any more",
    Severity.MEDIUM,
    "The client cannot start the server. Who is in a hurry then takes the guard away, and does not "
    "put it back.",
    "Run `setup` again: it writes where pipeguard is now.",
    "pipeguard setup CLIENT --server=NAME",
)
BROKEN = PostureCheck(
    "config-unreadable",
    "A client's file cannot be read as its client may read it",
    Severity.HIGH,
    "What its client starts is then not known, and it is not guarded: clients read what others "
    "refuse, as a key that stands twice, values nested without end, or bytes that are no UTF-8. It "
    "is medium where its servers could be read all the same, and are looked at; low where nothing "
    "in the file speaks of servers. Some clients replace a file that they cannot read by an empty "
    "one.",
    "Mend the file; the reason names the line.",
)
FLAGS = PostureCheck(
    "guard-weakened",
    "A guarded server's entry switches part of the guard off",
    Severity.MEDIUM,
    "With `--observe` nothing is stopped; with `--inherit-env` the server gets every variable that "
    "the client has, tokens too; with `--no-audit` no record is kept.",
    "Take the option out of the entry. What must pass, say in the policy: one rule, one tool.",
    "pipeguard allow EVENT",
    '{"command": "pipeguard", "args": ["wrap", "--observe", "--", "srv"]}',
    '{"command": "pipeguard", "args": ["wrap", "--", "srv"]}',
)
CHECKS = (UNGUARDED, CANNOT, STALE, BROKEN, FLAGS)
_WEAK = {
    "--observe": (Severity.MEDIUM, "`--observe` lets everything through"),
    "--inherit-env": (Severity.MEDIUM, "`--inherit-env` gives it every variable of the client's"),
    "--no-audit": (Severity.LOW, "`--no-audit` keeps no record"),
    "--secret-arguments": (Severity.MEDIUM, "`--secret-arguments` lets a header's secret be seen"),
}


def look(subject: AssessmentTarget) -> Iterator[PostureFinding]:
    """All servers, and all files."""
    for config in subject.configs:
        if config.problem:
            yield _broken(config)
    for server in subject.servers:
        yield from _of(subject, server)
        yield from _flags(subject, server)


def _broken(config: Config) -> PostureFinding:
    if config.is_unread:
        # What a baseline knows of it holds for these bytes alone.
        key = config.digest if config.content else ""
        return BROKEN.at(config.path, f"It is not read: {config.problem}", key=key)
    if config.servers:
        message = f"It is read, and cannot be changed: {config.problem}"
        return BROKEN.at(config.path, message, severity=Severity.MEDIUM)
    return BROKEN.at(config.path, f"It is not read: {config.problem}", severity=Severity.LOW)


def _of(subject: AssessmentTarget, server: ServerEntry) -> Iterator[PostureFinding]:
    judged = subject.judged(server)
    setup = ["pipeguard", "setup", server.client, f"--server={server.name}"]
    if server.scope is ConfigScope.PROJECT:
        setup += ["--scope", "project", "--shared"] if subject.is_repository else [
            "--scope", "project"
        ]  # fmt: skip
    if judged.state is GuardState.OPEN:
        yield UNGUARDED.of_server(server, "Nothing stands between it and the model.", mend=setup)
    elif judged.state is GuardState.STALE:
        yield STALE.of_server(server, f"{judged.why}.", mend=setup)
    elif judged.state is GuardState.CANNOT:
        login = judged.code == "login" and server.url
        mend = ["pipeguard", "auth", "login", server.url] if login and server.url else []
        yield CANNOT.of_server(server, f"It is not guarded: {judged.why}.", mend=mend)


def _flags(subject: AssessmentTarget, server: ServerEntry) -> Iterator[PostureFinding]:
    if server.guard is None:
        return
    for index, word in enumerate(server.args):
        if word == "--":
            return
        if word in _WEAK:
            severity, what = _WEAK[word]
            line = subject.line(server, f"args.{index}")
            yield FLAGS.of_server(server, f"{what}.", line=line, key=word, severity=severity)
