"""Writes an entry of `isolate` into the user's policy file, whose comments and order stay."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from pipeguard.config.isolate_lists import with_list, with_scalar
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.config.splicing import spliced
from pipeguard.errors import PolicyError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pipeguard.config.isolate_key import IsolateEntry
    from pipeguard.config.policy_file import PolicyFile

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
        merged = _merged(before.isolate[index], changes)
        changed = changed_entries(path, text, {index: merged}, today)
        if changed is not None:
            return without_values(path, changed, dropped, own, today) or changed
    return _with_another(path, text, before, entry, today)


def own_entries(server: str, entries: Sequence[IsolateEntry]) -> list[int]:
    """Where the entries are that are for a server alone, by its escaped name."""
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
    """The text with other lists in some entries; None where its layout is not safe.

    Raises:
        PolicyError: the text is invalid.
    """
    for at, entry in wanted.items():
        for kind in (*LISTS, *FLAGS):
            before = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)
            if getattr(before.isolate[at], kind) == getattr(entry, kind):
                continue
            new = before.isolate[at]._replace(**{kind: getattr(entry, kind)})
            after = before._replace(isolate=(*before.isolate[:at], new, *before.isolate[at + 1 :]))
            changed = _first_valid(_changed(text, at, kind, new), path, after, today)
            if changed is None:
                return None
            text = changed
    return text


def _changed(text: str, at: int, kind: str, new: IsolateEntry) -> Iterator[str]:
    value = getattr(new, kind)
    if kind in FLAGS:
        return with_scalar(text, at, kind, "true" if value is True else str(value or ""))
    return with_list(text, at, kind, value, _number_flow if kind == "loopback" else _flow)


def _merged(entry: IsolateEntry, more: Mapping[str, object]) -> IsolateEntry:
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
    texts = spliced(text, "isolate", block, [_flow(entry)])
    if (changed := _first_valid(texts, path, wanted, today)) is not None:
        return changed
    raise PolicyError(
        f"{path} is written so that nothing can be inserted safely. Add this to its `isolate`:\n"
        f"{block('  ')}".rstrip()
    )


def _first_valid(
    texts: Iterable[str], path: str, wanted: PolicyFile, today: datetime.date
) -> str | None:
    """The first of some texts that says what is wanted."""
    for changed in texts:
        try:
            after = parse_policy(changed, path, PolicyScope.USER, now=0.0, today=today)
        except PolicyError:
            continue
        if after == wanted._replace(notes=after.notes):
            return changed
    return None


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


def _number_flow(value: object) -> str:
    return str(value)
