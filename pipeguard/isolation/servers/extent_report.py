"""Everything that an isolated server can touch, as rows for `isolate`, `setup` and others."""

import textwrap
from collections.abc import Iterable, Iterator

from pipeguard.isolation.extent import ITS_PROGRAM, Extent
from pipeguard.isolation.profile import short_path, split_size
from pipeguard.isolation.servers.command import ServerCommand
from pipeguard.isolation.servers.preview import ServerPreview
from pipeguard.unicode.display import visible

Rows = dict[str, list[tuple[str, str]]]  # by label: a thing, and the source of the grant or ""
STARTS = "does not start"
CHANGES = "changes"
READS = "reads"
OWN = "its own"
REACHES = "reaches"
COLUMNS = 80
LABEL = 16  # columns of a label, with the gap to its text
INDENT = "    "
MOST_LINES = 12  # of one label; `--json` has all
NAMED = 2  # of one label in a summary
_IN_MEMORY = "in memory, empty at each start"
_ITS_COMMAND = "its command"


def extent_rows(touches: ServerPreview) -> Rows:
    """List everything that a server can touch, by label; empty if it is not isolated."""
    rows: Rows = {}
    if touches.problem:
        rows = {STARTS: [(visible(touches.problem), _ITS_COMMAND)]}
    elif touches.container:
        argv, added, is_open = touches.container
        network = "a network that PipeGuard does not judge" if is_open else "no network"
        rows = {
            "runs in": [("its own container", _ITS_COMMAND)],
            "mounts": [(visible(each), _ITS_COMMAND) for each in ServerCommand(argv).mounts],
            "adds": [(" ".join(map(visible, added)), "")] if added else [],
            REACHES: [(network, _ITS_COMMAND if is_open else "")],
        }
    elif touches.extent:
        rows = _extent_rows(touches.extent)
    return {label: row for label, row in rows.items() if row}


def _extent_rows(extent: Extent) -> Rows:
    roots = [("the projects open in its client", "the client's roots")] if extent.roots else []
    ports = [(f"port {each.what} here", each.why) for each in extent.loopback]
    fetched = "" if extent.is_fetched else ", fetched when it first starts"
    return {
        CHANGES: [*_paths(extent.write), *(roots if extent.changes_roots else [])],
        "changes in git": [(_path(path), "run at your next git command") for path in extent.git],
        READS: [
            *_paths(extent.read),
            *([] if extent.changes_roots else roots),
            *([(f"its package {visible(extent.package)}{fetched}", "")] if extent.package else []),
            *([(f"its program: {visible(extent.unknown)}", "")] if extent.unknown else []),
            *([(f"the system: {', '.join(extent.system)}", "")] if extent.system else []),
        ],
        "reads keys in": [(_path(path), "") for path in extent.secrets],
        "only reads": [(_path(path), "") for path in extent.fixed],
        "does not see": [(_path(path), "") for path in extent.hidden],
        OWN: [
            *([(", ".join(map(_path, extent.own)), _IN_MEMORY)] if extent.own else []),
            *([(_path(extent.kept_home), "its home, kept")] if extent.kept_home else []),
        ],
        REACHES: [*_paths(extent.hosts), *ports] or [("no host, and no port of this machine", "")],
        "limits": [(_limits(extent), "")],
    }


def list_given(touches: ServerPreview) -> tuple[str, ...]:
    """List what somebody named of all that a server can touch."""
    rows = extent_rows(touches)
    return tuple(
        f"{what}{', to read' * (label == READS)}"
        for label in (CHANGES, READS, OWN, REACHES)
        for what in _list_named(rows, label)
    )


def _list_named(rows: Rows, label: str) -> list[str]:
    """List the things of a label that somebody named, except the program and its usual files."""
    return [what for what, why in rows.get(label, ()) if why not in ("", ITS_PROGRAM, _IN_MEMORY)]


def summarise(touches: ServerPreview) -> str:
    """Summarise a server's reach on one line."""
    rows = extent_rows(touches)
    parts = []
    for label in (STARTS, "runs in", CHANGES, REACHES, READS, OWN):
        things = _list_named(rows, label)
        more = f" and {len(things) - NAMED} more" if len(things) > NAMED else ""
        if things or (label == REACHES and rows.get(label)):
            colon = ":" if label == STARTS else ""
            parts.append(f"{label}{colon} {', '.join(things[:NAMED]) or 'nothing'}{more}")
    return "; ".join(parts)


def row_lines(rows: Rows) -> Iterator[str]:
    """Format rows as lines of at most 80 columns."""
    for label, row in rows.items():
        shown = [f"{what}  ({why})" if why else what for what, why in row]
        if len(shown) > MOST_LINES:
            shown[MOST_LINES - 1 :] = [f"and {len(row) - MOST_LINES + 1} more (--json lists all)"]
        lines = [line for text in shown for line in _wrap(text, len(INDENT) + LABEL)]
        for head, line in zip((label, *[""] * len(lines)), lines, strict=False):
            yield f"{INDENT}{head:<{LABEL}}{line}"


def _wrap(text: str, used: int) -> list[str]:
    return textwrap.wrap(text, COLUMNS - used, break_on_hyphens=False)


def wrap_text(text: str, indent: str = INDENT) -> Iterator[str]:
    """Wrap a text into indented lines."""
    return (indent + line for line in _wrap(text, len(indent)))


def _paths(grants: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((_path(what), why) for what, why in grants)


def _limits(extent: Extent) -> str:
    memory, processes, files, file_size, cpu, scratch = extent.limits
    parts = [
        f"{_size(memory)} of memory a process" if memory else "memory unlimited",
        f"{processes:,} processes" if processes else "processes unlimited",
        f"{files:,} open files" if files else "open files unlimited",
        f"files up to {_size(file_size)}" if file_size else "files of any size",
        f"{_size(scratch)} in each folder in memory",
        f"{cpu:,} CPU seconds a process" if cpu else "CPU time unlimited",
    ]
    return ", ".join(parts)


def _size(count_bytes: int) -> str:
    number, unit = split_size(count_bytes)
    return f"{number:,} {unit or 'bytes'}"


def _path(path: str) -> str:
    return visible(short_path(path))
