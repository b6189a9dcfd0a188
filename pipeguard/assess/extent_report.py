"""All that an isolated server can touch, as lines of at most 80 columns."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from pipeguard.isolation import Extent

COLUMNS = 80
LABEL = 11  # columns of a label, with what is between it and its text
INDENT = "    "
MOST_LINES = 12  # of one label; `--json` has all
_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def extent_lines(extent: Extent) -> Iterator[str]:
    """All of it, for people."""
    for label, texts in extent_parts(extent):
        yield from label_texts(label, texts)


def extent_parts(extent: Extent) -> Iterator[tuple[str, list[str]]]:
    """All of it, by labels; one that is empty goes on with the label before it."""
    yield "changes", [*map(_grant_line, extent.write), *_roots(extent, changes=True)]
    yield "", list(_git(extent))
    yield "reads", _reads(extent)
    if extent.secrets:
        listed = ", ".join(_path(path) for path in extent.secrets)
        yield "", [f"{listed} among it, which may hold keys"]
    yield "read-only", [_path(path) for path in extent.fixed]
    yield "not there", [_path(path) for path in extent.hidden]
    yield "its own", list(_own(extent))
    yield "network", list(_network(extent))
    yield "limits", [_limits(extent)]


def essence(extent: Extent) -> str:
    """Summarise it on one line."""
    changed = [_path(each.what) for each in extent.write]
    named = sorted(extent.read, key=lambda each: each.is_of_program)
    read = [_path(each.what) for each in named]
    hosts = [visible(each.what) for each in extent.hosts]
    hosts += [f"port {each.what} here" for each in extent.loopback]
    parts = [
        f"changes {_shorten(changed)}" if changed else "",
        f"reaches {_shorten(hosts)}" if hosts else "no network",
        f"{'changes' if extent.changes_roots else 'reads'} open projects" if extent.roots else "",
        f"reads {_shorten(read)}" if read else "",
        "keeps its home" if extent.kept_home else "",
    ]
    return "; ".join(filter(None, parts))


def _limits(extent: Extent) -> str:
    limits = extent.limits
    parts = [
        f"{_size(limits.memory)} of memory a process" if limits.memory else "memory unlimited",
        f"{limits.processes:,} processes" if limits.processes else "processes unlimited",
        f"{limits.files:,} open files" if limits.files else "open files unlimited",
        f"files up to {_size(limits.file_size)}" if limits.file_size else "files of any size",
        f"{_size(limits.scratch)} in each folder in memory",
        f"{limits.cpu:,} CPU seconds a process" if limits.cpu else "CPU time unlimited",
    ]
    return ", ".join(parts)


def _git(extent: Extent) -> Iterator[str]:
    if extent.git:
        listed = _shorten([_path(path) for path in extent.git])
        yield f"{listed} among it: so it can have programs run at your next git command there"


def _reads(extent: Extent) -> list[str]:
    package = []
    if extent.package:
        state = "" if extent.is_fetched else ", fetched when it first starts"
        package = [f"its package {visible(extent.package)}{state}"]
    if extent.unknown:
        package.append(
            f"what its program needs, which PipeGuard did not find: {visible(extent.unknown)}"
        )
    system = ", ".join(visible(path) for path in extent.system)
    return [
        *map(_grant_line, extent.read),
        *_roots(extent, changes=False),
        *package,
        *([f"the system: {system}, and what of /etc holds no secret"] if system else []),
    ]


def _roots(extent: Extent, *, changes: bool) -> list[str]:
    is_it = extent.roots and extent.changes_roots == changes
    return ["the client's roots: the projects open in it"] if is_it else []


def _own(extent: Extent) -> Iterator[str]:
    in_memory = ["a home" if _path(path) == "~" else _path(path) for path in extent.own]
    if in_memory:
        yield f"{', '.join(sorted(in_memory, reverse=True))}: in memory, empty at each start"
    if extent.kept_home:
        yield f"its home, kept in {_path(extent.kept_home)}"


def _network(extent: Extent) -> Iterator[str]:
    if extent.is_offline:
        yield "none: no host, no port of this machine"
    yield from map(_grant_line, extent.hosts)
    yield from (f"port {_grant_line(each)} of this machine" for each in extent.loopback)
    if extent.hosts:
        yield "no other host, no UDP; names are looked up by PipeGuard"


def _grant_line(given: tuple[str, str]) -> str:
    what, why = given
    return f"{_path(what)}  ({why})"


def _path(path: str) -> str:
    return visible(short_path(path))


def _size(count_bytes: int) -> str:
    for unit_bytes, unit in _SIZES:
        if count_bytes >= unit_bytes and count_bytes % unit_bytes == 0:
            return f"{count_bytes // unit_bytes:,} {unit}"
    return f"{count_bytes:,} bytes"


def _shorten(texts: list[str]) -> str:
    more = f" and {len(texts) - 2} more" if len(texts) > 2 else ""
    return ", ".join(texts[:2]) + more


def wrap_text(text: str, indent: str = INDENT) -> Iterator[str]:
    """A text as lines, indented."""
    for line in text.splitlines():
        yield from textwrap.wrap(
            line, COLUMNS, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )


def short_path(path: str, home_folder: str = "") -> str:
    """A path with `~` for the home folder, by default that of this process."""
    home_folder = home_folder or os.path.expanduser("~")
    is_below = path == home_folder or path.startswith(f"{home_folder}/")
    return f"~{path[len(home_folder) :]}" if is_below else path


def label_texts(label: str, texts: Iterable[str]) -> Iterator[str]:
    """Texts behind a label, each wrapped; nothing where there is none."""
    texts = list(texts)
    shown = texts if len(texts) <= MOST_LINES else texts[: MOST_LINES - 1]
    if len(shown) < len(texts):
        shown = [*shown, f"and {len(texts) - len(shown)} more (--json lists all)"]
    head = label
    for text in shown:
        for line in textwrap.wrap(text, COLUMNS - len(INDENT) - LABEL, break_on_hyphens=False):
            yield f"{INDENT}{head:<{LABEL}}{line}"
            head = ""
