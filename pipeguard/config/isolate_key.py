"""The keys `isolate` and `egress` of the user's policy: the grants of isolated servers.

`isolate` names the isolated servers and the grants of each; `egress` names the proxy of the user's
network that their connections go through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pipeguard.config.policy_values import parse_choice, parse_glob, read_keys
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from pipeguard.config.strict_yaml import YamlEntry

ENGINES = ("auto", "bubblewrap", "container", "none")
OF_ONE_SERVER = (*ENGINES, "learn")  # in the servers' own file: learning is for one server
LIMITS = ("memory", "processes", "files", "file-size", "cpu", "scratch")
ROOTS = ("read", "write")
LISTS = ("read", "write", "hosts", "loopback")  # keys of an entry, and those that are not lists
FLAGS = ("roots", "keep_home")
MAX_ITEMS = 1000


class IsolateEntry(NamedTuple):
    """The grants of one entry to its servers; all as written.

    Attributes:
        server: a glob of servers' names.
        tag: a glob that one of a server's tags has to fit too; empty for any server.
        engine: one of `ENGINES`, or of `OF_ONE_SERVER`.
        read: paths of files and folders that they may read.
        write: paths of files and folders that they may change.
        roots: one of `ROOTS` if the client's roots are given, else empty.
        hosts: that they may connect to.
        loopback: ports of this machine that they may connect to.
        keep_home: whether their home is kept between runs.
        limits: `NAME=VALUE`, with the names in `LIMITS`.
    """

    server: str = "*"
    tag: str = ""
    engine: str = "auto"
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    roots: str = ""
    hosts: tuple[str, ...] = ()
    loopback: tuple[str, ...] = ()
    keep_home: bool = False
    limits: tuple[str, ...] = ()


IsolateEntries = Sequence[IsolateEntry]
_KEYS = IsolateEntry._fields


def isolate_entries(entry: YamlEntry | None) -> IsolateEntries:
    """Read the key; report errors at their entries, and leave these out."""
    return () if entry is None else tuple(_of_policy(item) for item in entry.items())


def egress_proxy(entry: YamlEntry | None) -> str | None:
    """Read the key `egress`: the proxy of the user's network, as written."""
    keys = {} if entry is None else entry.fields(("proxy",), required=("proxy",))
    return keys["proxy"].text() if "proxy" in keys else None


def find_entries(name: str, entries: IsolateEntries, tags: Iterable[str] = ()) -> IsolateEntries:
    """The entries for a server, in order.

    Args:
        name: of the server.
        entries: all of the policy.
        tags: of the server.
    """
    known = tuple(tags)
    return tuple(
        entry
        for entry in entries
        if fnmatchcase(name, entry.server)
        and (not entry.tag or any(fnmatchcase(tag, entry.tag) for tag in known))
    )


def read_isolate_entry(name: str, entry: YamlEntry) -> IsolateEntry:
    """Read the entry of one server, which is named elsewhere."""
    known = tuple(key for key in _KEYS if key not in ("server", "tag"))
    keys = entry.fields(known)
    if "roots" in keys:
        keys["roots"].wrong(
            "a gateway's server has many clients, and each would get the folders of the others:"
            " name the folders under `read` or `write`"
        )
    from glob import escape  # most policies have no such entry

    return _read(keys, OF_ONE_SERVER)._replace(server=escape(name))


def _of_policy(entry: YamlEntry) -> IsolateEntry:
    keys = entry.fields(_KEYS)
    if not keys.keys() & {"server", "tag"}:
        entry.wrong("`server` is missing, or `tag`")
    return _read(keys)


def _read(keys: Mapping[str, YamlEntry], engines: tuple[str, ...] = ENGINES) -> IsolateEntry:
    engine = parse_choice(keys.get("engine"), {name: name for name in engines})
    keep = parse_choice(keys.get("keep_home"), {"true": True, "false": False})
    roots = parse_choice(keys.get("roots"), {name: name for name in ROOTS})
    limits = keys["limits"].fields(LIMITS) if "limits" in keys else {}
    return IsolateEntry(
        engine=engine or "auto",
        roots=roots or "",
        keep_home=bool(keep),
        limits=tuple(f"{name}={value.text() or ''}" for name, value in limits.items()),
        **read_keys(keys, _READERS),
    )


def _texts(entry: YamlEntry) -> tuple[str, ...]:
    items = entry.items()
    if len(items) > MAX_ITEMS:
        entry.wrong(f"more than {MAX_ITEMS} items")
        return ()
    return tuple(text for item in items if (text := item.text()))


_READERS = {
    "server": parse_glob,
    "tag": parse_glob,
    "read": _texts,
    "write": _texts,
    "hosts": _texts,
    "loopback": _texts,
}
