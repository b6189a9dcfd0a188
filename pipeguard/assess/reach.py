"""The reach of a server by its tools or, if it was not connected to, by its name."""

import re
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from pathlib import Path

import yaml

from pipeguard.assess.isolation import EntryIsolation, entry_extent
from pipeguard.assess.target import AssessmentTarget
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.clients.masking import command_line
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.identity.server_name import identify_server
from pipeguard.isolation import ITS_PROGRAM, Extent, Isolation, ServerPreview, list_given
from pipeguard.unicode.display import visible

NOTHING = "no file of yours, no host"  # the reach of an isolated server without grants


@cache
def _read_labels(table: str) -> dict[str, Label]:
    """A table of reach.yaml: words, and the labels of a server to which they apply."""
    rows = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_bytes())[table]
    return {
        words: reduce(or_, (Label[name] for name in names.upper().split()))
        for words, names in rows.items()
    }


@dataclass(frozen=True, slots=True)
class Reached:
    """A server, the clients that reach it, and what it can touch.

    Attributes:
        what: its command or address, secrets hidden.
        clients: the ids of the clients that read its entry.
        state: whether it is guarded, as a `GuardState`.
        touches: the things that it can touch, in words.
        asked: whether its tools say so; otherwise its name suggests it.
        tools: the names of its tools, if it was connected to.
        isolated: whether isolation enforces the limits, instead of the server claiming them.
        given: everything that an isolated server can touch, in words.
    """

    name: str
    what: str
    clients: tuple[str, ...]
    state: str
    touches: tuple[str, ...]
    asked: bool
    tools: tuple[str, ...] = ()
    isolated: bool = False
    given: tuple[str, ...] = ()

    @property
    def condition(self) -> str:
        """Its state, guarded and isolated or not, in words."""
        return f"{self.state}{', isolated' * self.isolated}"

    @property
    def extent(self) -> str:
        """Describe the server's reach, and the source of that claim."""
        if self.isolated:
            given = f"only {', '.join(self.given)}" if self.given else NOTHING
            return f"{given} (enforced)"
        says = "tools" if self.asked else "name"
        return f"{', '.join(self.touches) or 'nothing known'} (by its {says})"


def labels(target: AssessmentTarget, server: ServerEntry) -> tuple[Label, bool]:
    """Capabilities of a server's tools, declared or suggested by the server's name."""
    offered = target.find_definitions(server)
    if offered and not offered.problem:
        return offered.labels, True
    address = (server.own_url or "").partition("://")[2]
    name = address or identify_server(server.own_words).name
    words = set(re.findall(r"[a-z0-9]+", f"{server.name} {name}".lower()))
    union = Label.NONE
    for names, label in _read_labels("names").items():
        if words.intersection(names.split()):
            union |= label
    return union, False


def touches(union: Label) -> tuple[str, ...]:
    """The labels in words."""
    return tuple(words for words, label in _read_labels("reports").items() if union & label)


def find_reach(target: AssessmentTarget) -> tuple[Reached, ...]:
    """Every server that a client would start or call."""
    rows = []
    for server in target.servers:
        union, from_tools = labels(target, server)
        offered = target.find_definitions(server)
        offers = offered.offers if offered else ()
        enforced = given_in_words(target, server)
        rows.append(
            Reached(
                server.name,
                command_line(server),
                target.client_ids(server),
                target.judge(server).state.value,
                touches(union),
                from_tools,
                tuple(visible(offer.name) for offer in offers if offer.kind == "tool"),
                enforced is not None,
                enforced or (),
            )
        )
    return tuple(rows)


# --- enforcement ------------------------------------------------------------------------
# The capabilities that isolation surely removes: here, with this configuration and engine.

# Labels that need a network, and those that need a file of the user's or a network.
_OUT = Label.SENDS | Label.OUTSIDE
_IN = Label.READS_PRIVATE | Label.READS_PERSONAL | Label.READS_SECRET | Label.TAKES_IN | Label.RUNS


def find_taken(target: AssessmentTarget, server: ServerEntry) -> tuple[Label, str]:
    """Find what isolation takes from a server; nothing in a repository, where others decide.

    Returns:
        The capabilities that isolation denies it, as labels and in words.
    """
    touches = _enforce(target, server)
    extent, container = (touches.extent, touches.container) if touches else (None, None)
    if container is not None:  # ignores the mounts in its own words
        is_offline = not container.is_open
    else:
        is_offline = extent is not None and extent.is_offline
    if not is_offline:
        return Label.NONE, ""
    if container or extent is None or _sees_files(extent):
        return _OUT, "no network"
    return _OUT | _IN, "no network and no file of yours"


def _find_held(target: AssessmentTarget, server: ServerEntry) -> EntryIsolation | None:
    """Return the isolation of a server that is isolated; None for others."""
    isolation = target.isolation(server)
    is_guarded = target.judge(server).state is GuardState.GUARDED
    return isolation if isolation and isolation.is_held and is_guarded else None


def _enforce(target: AssessmentTarget, server: ServerEntry) -> ServerPreview | None:
    """Find the reach of a server that isolation enforces; None if it does not, or may not."""
    is_here = target.machine.home.resolve() == Path.home().resolve()
    isolation = _find_held(target, server)
    if target.is_repository or not is_here or isolation is None:
        return None
    touches = entry_extent(server, isolation, target.machine)
    if touches.problem:
        return None
    engine = Isolation.CONTAINER if touches.container else isolation.engine
    if touches.container is None and target.problem_with_engine(engine):
        return None
    return touches


def given_in_words(target: AssessmentTarget, server: ServerEntry) -> tuple[str, ...] | None:
    """List everything that an isolated server can touch, in words; None if it is not isolated.

    On this machine it is the access that the server would get now; else that of its entry and
    policy.
    """
    isolation = _find_held(target, server)
    if not isolation:
        return None
    if not target.is_repository and target.problem_with_engine(isolation.engine):
        return None
    touches = _enforce(target, server)
    if touches is None or touches.extent is None:
        return isolation.given
    return list_given(touches)


def _sees_files(extent: Extent) -> bool:
    """True if a server sees anything of the user's except its program's installation."""
    read = [each for each in extent.read if each.why != ITS_PROGRAM]
    kept = extent.kept_home or extent.roots or extent.unknown or extent.secrets
    return bool(extent.write or read or kept)
