"""Servers whose process is not isolated, and isolation that is weakened."""

import re

from pipeguard.assess.checks.guarded import FLAGS
from pipeguard.assess.cures import setup_command
from pipeguard.assess.gateway_file import is_of_gateway
from pipeguard.assess.isolation import EntryIsolation
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, read_checks
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.clients.guarding import ISOLATE, wrap_options
from pipeguard.clients.isolating import obstacle
from pipeguard.errors import LaunchError
from pipeguard.firewall.finding import Severity
from pipeguard.isolation import Isolation, ServerCommand, choose_engine, describe_excess, holds_home

NOT_ISOLATED, MACHINE_GIVEN = CHECKS = read_checks("isolation")
_ENGINE_SOCKET = re.compile(r"/(?:docker|podman|containerd|crio)\.sock\Z")
_DISK = re.compile(r"/|[A-Za-z]:[\\/]?")
_TOUCHES = "Its own process may read and change your files and reach any host"
_CONTAINED = "The command and defaults of its container decide its network, rights and files"
_STARTED = (GuardState.GUARDED, GuardState.OPEN, GuardState.STALE)


def look(target: AssessmentTarget) -> Findings:
    """Check all servers that are started here, if they could be isolated."""
    can_isolate = _has_engine()
    for server in target.servers:
        yield from _given_away(target, server)
        yield from _find_given_machine(target, server)
        if can_isolate:
            yield from _open(target, server)


def _has_engine() -> bool:
    try:
        choose_engine(Isolation.AUTO)
    except LaunchError:
        return False
    return True


def _open(target: AssessmentTarget, server: ServerEntry) -> Findings:
    held = target.isolation(server)
    if held is None or held.is_held:
        return
    is_told = held.by_entry == Isolation.NONE and server.guard is not None  # as a weakened guard
    if is_told or target.judge(server).state not in _STARTED:
        return
    is_refused = bool(obstacle(server))
    why = obstacle(server, None if target.is_repository else target.isolate_entries)
    setup = setup_command(target, server)
    fix = () if why or is_of_gateway(server) or not setup else (*setup, ISOLATE)
    touches = _CONTAINED if ServerCommand(server.own_words).is_container else _TOUCHES
    hint = " `isolate: {}` in its entry of pipeguard.yaml isolates it." * is_of_gateway(server)
    message = f"{touches}{_because(held)}." + (f" But {why}." if why else hint)
    gives_more = why and not is_refused  # its own words give more than any isolated server gets
    severity = Severity.MEDIUM if gives_more else None
    yield NOT_ISOLATED.at(server, message, fix=fix, severity=severity)


def _because(isolation: EntryIsolation) -> str:
    """Explain why a server with isolation settings is not isolated."""
    if isolation.engine == Isolation.LEARN:
        return ", because `--isolate learn` refuses it nothing"
    return (
        ", because your policy says `engine: none`" if isolation.by_policy == Isolation.NONE else ""
    )


def _given_away(target: AssessmentTarget, server: ServerEntry) -> Findings:
    """Find options of an entry that turn isolation off, or weaken it."""
    for option in wrap_options(server.words):
        what = _weakness(target, option.name, option.value)
        if what:
            line = target.line(server, f"args.{option.begin - 1}")
            key = f"{option.name} {option.value}"
            severity = _severity(target, server, option.name)
            yield FLAGS.at(server, f"{what}.", line=line, key=key, severity=severity)


def _find_given_machine(target: AssessmentTarget, server: ServerEntry) -> Findings:
    """Find arguments with which an entry opens the machine, unless isolation refuses them."""
    held = target.isolation(server)
    words = server.own_words
    if not words or (held and held.is_held):
        return
    opens = _describe_option if ServerCommand(words).is_container else _describe_argument
    for before, word, after in zip(("", *words), words, (*words[1:], ""), strict=False):
        what = opens(before, word, after)
        if what:
            yield MACHINE_GIVEN.at(server, f"{what}.", key=what)


def _describe_argument(before: str, word: str, _after: str) -> str:
    """Describe the access that an argument gives; empty for most."""
    is_disk = _DISK.fullmatch(word) is not None and not before.startswith("-")
    return f"Its argument `{word}` gives it the whole disk" if is_disk else ""


def _describe_option(_before: str, word: str, after: str) -> str:
    """Describe the access that an option of `docker run` gives (docs.docker.com/reference/cli)."""
    name, _, value = word.partition("=")
    if name == "--privileged" and value in ("", "true"):
        return "`--privileged` gives its container all rights on this machine"
    value = value or after
    if name == "--pid" and value == "host":
        return "`--pid=host` shows it all processes of this machine"
    if name == "--cap-add" and value.upper().removeprefix("CAP_") in ("ALL", "SYS_ADMIN"):
        return f"`--cap-add={value}` lets it leave its container"
    if name in ("-v", "--volume"):
        source = value.partition(":")[0]
    elif name == "--mount":
        parts = dict(part.partition("=")[::2] for part in value.split(","))
        source = parts.get("source") or parts.get("src", "")
    else:
        return ""
    if _DISK.fullmatch(source):
        return f"`{name} {value}` gives it the whole disk"
    is_socket = _ENGINE_SOCKET.search(source) is not None
    return f"`{name} {value}` lets it start any container, with any rights" if is_socket else ""


def _weakness(target: AssessmentTarget, name: str, value: str) -> str:
    if name == ISOLATE and value == Isolation.NONE:
        return "`--isolate none` runs it without isolation, whatever the policy says"
    if name in ("--read", "--write") and holds_home(value, str(target.machine.home)):
        verb = "read" if name == "--read" else "change"
        return f"`{name} {value}` lets it {verb} nearly all that is in your home"
    if name == "--connect" and (what := describe_excess(value)):
        return f"`--connect {value}` lets it reach {what}"
    return ""


def _severity(target: AssessmentTarget, server: ServerEntry, name: str) -> Severity:
    """Medium; low for a server without isolation that the policy does not isolate either."""
    held = target.isolation(server)
    is_usual = held is None or held.by_policy in ("", Isolation.NONE)
    return Severity.LOW if name == ISOLATE and is_usual else Severity.MEDIUM
