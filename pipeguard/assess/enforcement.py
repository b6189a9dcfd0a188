"""What isolation takes from a server for sure: enforced here, with this configuration and engine.

Nothing is taken where anything of that is not known: then what its tools or its name say counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeguard.assess.entry_extent import EntryExtent, entry_extent
from pipeguard.assess.isolation import entry_isolation, short_path
from pipeguard.assess.target import AssessmentTarget
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.isolation.engines import CONTAINER
from pipeguard.isolation.extent import ITS_PROGRAM, Extent
from pipeguard.isolation.profile import READ_ROOTS

# What needs a network, and what needs a file of the user's or a network.
_OUT = Label.SENDS | Label.OUTSIDE
_IN = Label.READS_PRIVATE | Label.READS_PERSONAL | Label.READS_SECRET | Label.TAKES_IN | Label.RUNS


class Enforcement(NamedTuple):
    """What isolation takes from one server.

    Attributes:
        taken: what it cannot do, whatever its tools say.
        why: in words, behind "it has"; empty where nothing is taken.
    """

    taken: Label = Label.NONE
    why: str = ""


def enforcement(target: AssessmentTarget, server: ServerEntry) -> Enforcement:
    """What isolation takes from a server; of a repository's nothing, where others decide."""
    touches = _enforced(target, server)
    if touches is None:
        return Enforcement()
    if touches.container is not None:  # what is mounted in it by its own words is not looked at
        return Enforcement() if touches.container.is_open else Enforcement(_OUT, "no network")
    if touches.extent is None or not touches.extent.is_offline:
        return Enforcement()
    if _sees_files(touches):
        return Enforcement(_OUT, "no network")
    return Enforcement(_OUT | _IN, "no network and no file of yours")


def _enforced(target: AssessmentTarget, server: ServerEntry) -> EntryExtent | None:
    """What a server can touch where that is enforced; None where it is not, or may not be."""
    is_here = target.machine.home.resolve() == Path.home().resolve()
    if target.is_repository or not is_here:
        return None
    isolation = entry_isolation(target, server)
    is_guarded = target.judged(server).state is GuardState.GUARDED
    if isolation is None or not isolation.is_held or not is_guarded:
        return None
    touches = entry_extent(server, isolation, target.machine)
    if touches.problem:
        return None
    engine = CONTAINER if touches.container is not None else isolation.engine
    if touches.container is None and target.problem_with_engine(engine):
        return None
    return touches


def given_in_words(target: AssessmentTarget, server: ServerEntry) -> tuple[str, ...] | None:
    """All that a server can touch, in words, where it is isolated; None where it is not.

    Of this machine it is what the server would be given now; else what its entry and policy say.
    """
    isolation = entry_isolation(target, server)
    is_guarded = target.judged(server).state is GuardState.GUARDED
    if isolation is None or not isolation.is_held or not is_guarded:
        return None
    if not target.is_repository and target.problem_with_engine(isolation.engine):
        return None
    touches = _enforced(target, server)
    extent = touches.extent if touches is not None else None
    return isolation.given if extent is None else tuple(_in_words(extent, target.machine.home))


def _in_words(extent: Extent, home_folder: Path) -> Iterator[str]:
    """What is given, the files first; without the installations of runtimes."""
    for each in extent.write:
        yield short_path(each.what, str(home_folder))
    for each in extent.read:
        if each.why != ITS_PROGRAM:
            yield f"{short_path(each.what, str(home_folder))}, to read"
    if extent.roots:
        yield f"open projects{', to read' * (extent.roots == READ_ROOTS)}"
    if extent.kept_home:
        yield "a kept home of its own"
    yield from (each.what for each in extent.hosts)
    yield from (f"port {each.what} here" for each in extent.loopback)


def _sees_files(touches: EntryExtent) -> bool:
    """Whether a server sees anything of the user's beside its program's installation."""
    extent = touches.extent
    if extent is None:
        return True
    read = [each for each in extent.read if each.why != ITS_PROGRAM]
    kept = extent.kept_home or extent.roots or extent.unknown or extent.secrets
    return bool(extent.write or read or kept)
