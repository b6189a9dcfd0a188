"""Writes an entry of `isolate` into the user's policy file, whose comments and order stay."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from pipeguard.config.container import Container, with_items
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.config.tree import Edit, UneditableError, UnreadableError, Value, apply_edits
from pipeguard.config.yaml_text import Yaml
from pipeguard.errors import PolicyError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.config.policy_file import PolicyFile

_KEY = "isolate"
LISTS = ("read", "write", "hosts", "loopback")
FLAGS = ("keep_home", "roots")
NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})
WIDEST = 1_000_000  # characters of a line: none is broken


def with_entry(
    path: str,
    entry: Mapping[str, object],
    today: datetime.date,
    dropped: Mapping[str, Collection[str]] = NOTHING,
) -> str:
    """A policy file's text in which a server is given more; nothing is written.

    What is new goes into the last entry that is for this server alone; where there is none, or its
    layout leaves no safe place, into an entry of its own.

    Args:
        path: the user's policy file, which need not exist.
        entry: its fields: `server`, lists, and `keep_home`.
        today: the date.
        dropped: by key, values of the server's own entries that the new ones make needless.

    Raises:
        PolicyError: the file is invalid, or its layout leaves no safe place to insert it.
    """
    text = policy_text(path, PolicyScope.USER) if Path(path).exists() else ""
    before = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
    own = own_entries(str(entry["server"]), before.isolate)
    for index in own[-1:]:
        changes = {kind: value for kind, value in entry.items() if kind != "server"}
        merged = _merge(before.isolate[index], changes)
        changed = changed_entries(path, text, {index: merged}, today)
        if changed is not None:
            return without_values(path, changed, dropped, own, today) or changed
    return _with_another(path, text, before, entry, today)


def own_entries(server: str, entries: Sequence[IsolateEntry]) -> list[int]:
    """Paths of the entries that are for one server only, by its escaped name."""
    return [at for at, each in enumerate(entries) if each.server == server and not each.tag]


def without_values(
    path: str,
    text: str,
    dropped: Mapping[str, Collection[str]],
    places: Sequence[int],
    today: datetime.date,
) -> str | None:
    """The text without some values of some entries; None where nothing can be removed safely.

    Args:
        path: of the policy file, for errors.
        text: of it.
        dropped: by key, the values; of `keep_home` and `roots` any, for the key as a whole.
        places: of the entries in `isolate`.
        today: the date.

    Raises:
        PolicyError: the text is invalid.
    """
    entries = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today).isolate
    wanted = {at: _without(entries[at], dropped) for at in places}
    return changed_entries(path, text, wanted, today)


def changed_entries(
    path: str, text: str, wanted: Mapping[int, IsolateEntry], today: datetime.date
) -> str | None:
    """The text with other values in some entries; None where its layout is not safe.

    Raises:
        PolicyError: the text is invalid.
    """
    before = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
    entries = before.isolate
    try:
        for at, kind in product(wanted, (*LISTS, *FLAGS)):
            new = getattr(wanted[at], kind)
            if new != getattr(entries[at], kind):
                text = _change(text, at, kind, [*new] if kind in LISTS else new)
    except (UneditableError, UnreadableError):
        return None
    after = tuple(wanted.get(at, entry) for at, entry in enumerate(entries))
    return text if _says(text, path, before._replace(isolate=after), today) else None


def _change(text: str, at: int, kind: str, value: Value) -> str:
    """The text with another value of a key in an entry, or without the key."""
    entry = _YAML.read(text).at((_KEY, at))
    if entry is None or entry.shared or not entry.members:
        raise UneditableError("the entry cannot be changed alone.")
    member = entry.member(kind)
    if isinstance(value, list):
        is_port = kind == "loopback"
        value = [int(each) if is_port and each.isdecimal() else each for each in value]
    if member is None:
        return apply_edits(text, _YAML.insert(entry, entry.members[-1], text, {kind: value}))
    if not value:
        return apply_edits(text, _YAML.remove(entry, [member], text))
    if not isinstance(value, list):
        return apply_edits(text, [Edit(member.value.start, member.value.end, _flow(value))])
    present = [str(item.value) for item in member.value.items]
    new = [_flow(each) for each in value if str(each) not in present]
    gone = [index for index, each in enumerate(present) if each not in map(str, value)]
    path = (_KEY, at, kind)
    if new:
        text = with_items(text, _YAML, path, new, lambda indent: _lines(new, indent))
    return Container(text, _YAML, path).replace_entries(gone, []) if gone else text


def _lines(items: Iterable[str], indent: str) -> str:
    return "".join(f"{indent}- {item}\n" for item in items)


def _merge(entry: IsolateEntry, more: Mapping[str, object]) -> IsolateEntry:
    changes: dict[str, Any] = {}
    for kind, value in more.items():
        if isinstance(value, (list, tuple)):
            texts = dict.fromkeys((*getattr(entry, kind), *map(str, value)))
            changes[kind] = tuple(texts)
        else:
            changes[kind] = value
    return entry._replace(**changes)


def _without(entry: IsolateEntry, dropped: Mapping[str, Collection[str]]) -> IsolateEntry:
    changes: dict[str, Any] = {}
    for kind, values in dropped.items():
        if kind in FLAGS:
            changes[kind] = type(getattr(entry, kind))()
        else:
            changes[kind] = tuple(each for each in getattr(entry, kind) if each not in values)
    return entry._replace(**changes)


def _with_another(
    path: str,
    text: str,
    before: PolicyFile,
    entry: Mapping[str, object],
    today: datetime.date,
) -> str:
    def block(indent: str) -> str:
        return entry_lines(entry, indent)

    alone = parse_policy(f"isolate:\n{block('')}", path, PolicyScope.USER, now=0.0, today=today)
    wanted = before._replace(isolate=(*before.isolate, *alone.isolate))
    with suppress(UneditableError, UnreadableError):
        changed = with_items(text, _YAML, (_KEY,), [_flow(entry)], block)
        if _says(changed, path, wanted, today):
            return changed
    raise PolicyError(
        f"{path} is written so that nothing can be inserted safely. Add this to its `isolate`:\n"
        f"{block('  ')}".rstrip()
    )


def _says(text: str, path: str, wanted: PolicyFile, today: datetime.date) -> bool:
    """True for a text that is read as what is wanted."""
    try:
        after = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
    except PolicyError:
        return False
    return after == wanted._replace(notes=after.notes)


def entry_lines(entry: Mapping[str, object], indent: str = "") -> str:
    """An entry of a list, a line for each of its fields."""
    lines = [f"{indent}  {name}: {_flow(value)}\n" for name, value in entry.items()]
    lines[0] = f"{indent}- {lines[0].lstrip()}"
    return "".join(lines)


def _flow(value: object) -> str:
    """A value on one line (YAML 1.2, section 7)."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=WIDEST, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


_YAML = Yaml(_flow)
