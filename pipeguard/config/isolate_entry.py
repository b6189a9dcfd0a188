"""Writes an entry of `isolate` into the user's policy file, whose comments and order stay."""

import datetime
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import yaml

from pipeguard.config.container import with_items
from pipeguard.config.isolate_key import FLAGS, LISTS, IsolateEntry
from pipeguard.config.policy_edit import prove, read_policy, says
from pipeguard.config.policy_file import PolicyScope, parse_policy
from pipeguard.config.tree import Edit, UneditableError, Value, apply_edits
from pipeguard.config.yaml_text import Yaml
from pipeguard.errors import PolicyError

_KEY = "isolate"
WIDEST = 1_000_000  # characters of a line: never broken


def with_entry(path: str, entry: Mapping[str, object], today: datetime.date) -> str:
    """Add a server's new grants to a policy file's text; nothing is written.

    New grants go into the last entry that is only for this server; if it has none, or its layout
    leaves no safe place, into an entry of their own.

    Args:
        path: the user's policy file, which need not exist.
        entry: its fields: `server`, lists, and `keep_home`.
        today: the date.

    Raises:
        PolicyError: the file is invalid, or its layout leaves no safe place to insert it.
    """
    text, before = read_policy(path, today)
    server = str(entry["server"])
    own = [at for at, each in enumerate(before.isolate) if each.server == server and not each.tag]
    for at in own[-1:]:
        merged = _merge(before.isolate[at], entry)
        isolate = (*before.isolate[:at], merged, *before.isolate[at + 1 :])
        change = partial(_extend, text, at, before.isolate[at], merged)
        changed = prove(path, today, change, says(before._replace(isolate=isolate)))
        if changed is not None:
            return changed
    block = partial(entry_lines, entry)
    alone = parse_policy(f"isolate:\n{block()}", path, PolicyScope.USER, today=today)
    wanted = before._replace(isolate=(*before.isolate, *alone.isolate))
    insert = partial(with_items, text, _YAML, (_KEY,), [_flow(entry)], block)
    changed = prove(path, today, insert, says(wanted))
    if changed is not None:
        return changed
    raise PolicyError(
        f"{path} is written so that nothing can be inserted safely. Add this to its `isolate`:\n"
        f"{block('  ')}".rstrip()
    )


def _extend(text: str, at: int, given: IsolateEntry, merged: IsolateEntry) -> str:
    """The text with more in an entry."""
    for kind in (*LISTS, *FLAGS):
        value = getattr(merged, kind)
        if value != getattr(given, kind):
            text = _change(text, at, kind, [*value] if kind in LISTS else value)
    return text


def _change(text: str, at: int, kind: str, value: Value) -> str:
    """The text with more in a key of an entry."""
    entry = _YAML.read(text).at((_KEY, at))
    if entry is None or entry.shared or not entry.members:
        raise UneditableError("the entry cannot be changed on its own.")
    member = entry.member(kind)
    if isinstance(value, list):
        is_port = kind == "loopback"
        value = [int(each) if is_port and each.isdecimal() else each for each in value]
    if not member:
        return apply_edits(text, _YAML.insert(entry, entry.members[-1], text, {kind: value}))
    if not isinstance(value, list):
        return apply_edits(text, [Edit(member.value.start, member.value.end, _flow(value))])
    present = [str(item.value) for item in member.value.items]
    new = [_flow(each) for each in value if str(each) not in present]
    return with_items(text, _YAML, (_KEY, at, kind), new, lambda indent: _lines(new, indent))


def _lines(items: Iterable[str], indent: str) -> str:
    return "".join(f"{indent}- {item}\n" for item in items)


def _merge(entry: IsolateEntry, more: Mapping[str, object]) -> IsolateEntry:
    changes: dict[str, Any] = {kind: value for kind, value in more.items() if kind != "server"}
    for kind, value in changes.items():
        if isinstance(value, (list, tuple)):
            changes[kind] = tuple(dict.fromkeys((*getattr(entry, kind), *map(str, value))))
    return entry._replace(**changes)


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
