"""The keys of a client's YAML file, and its wrong keys and values with their lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Formatter

from pipeguard.config.strict_yaml import Document, YamlEntry
from pipeguard.unicode.display import suggestion

OWN_KEYS = ("scope", "at", "first", "lock")
FILE_KEYS = ("format", "allows", "servers", "named", "shape")
KEYS = {
    *("name", "checked", "source", "before", "after", "list", "folders", "present", "managed"),
    *("files", "link", "private", "paste", "samples", "unasked", *FILE_KEYS),
}
SAMPLE_KEYS = ("before", "after", "left", "file")
TEXT_KEYS = frozenset(
    (
        *("name", "before", "after", "list", "link", "private", "paste", "named"),
        *("command", "args", "env", "env_names", "nested", "headers_env", "bearer_env"),
        *("stdio", "variable", "personal"),
    )
)
# The placeholders of a text that becomes a link or a command.
_BRACES: Mapping[str, tuple[str, ...]] = {
    "link": ("{name}", "{json}", "{base64}", "{arguments}"),
    "private": ("{name}", "{entry}"),
}
_EXPRESSIONS = ("variable", "personal")
CHECKED = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")
SYSTEMS = ("linux", "macos", "windows")
# The folders that are the same for all clients, as Machine.folder resolves them; and the project.
FOLDERS = ("home", "config", "xdg", "unix", "appdata", "localappdata", "project")
_NAMED_FOLDER = re.compile(r"\{([^{}]*)\}")
_START = re.compile(r"\{[^{}]+\}|\$[A-Z_][A-Z0-9_]*|/|[A-Z]:/")
# The words of which those of a list are; none for any words.
LISTS: Mapping[str, tuple[str, ...]] = {
    "allows": ("comments", "trailing-commas", "bom"),
    "expands": ("command", "args", "env", "url", "headers"),
    **dict.fromkeys(("headers", "kinds", "login", "gone", "servers", "samples"), ()),
}


def find_errors(
    text: str, source: str, shape_keys: Iterable[str], choices: Mapping[str, Sequence[str]]
) -> None:
    """Look for wrong keys and values, with their lines: slower than reading a correct file.

    Args:
        text: the YAML document.
        source: its file's name.
        shape_keys: the keys of `shape`.
        choices: the words of which a key's value is one.

    Raises:
        PolicyError: there is at least one.
    """
    document = Document(text, source)
    if document.root is None:
        return
    entries = document.root.fields(KEYS, required=("name",))
    if "checked" in entries and not CHECKED.fullmatch(entries["checked"].text() or "2000-01"):
        entries["checked"].wrong("expected a year and a month, as 2026-11")
    own = entries["folders"].members() if "folders" in entries else {}
    places = [*own.values(), *(entries[key] for key in ("present", "managed") if key in entries)]
    found = [entries]
    for key, more in (("files", ()), ("unasked", ("setting", "value"))):
        for item in entries[key].items() if key in entries else ():
            file = item.fields((*OWN_KEYS, *FILE_KEYS, *more), required=("at", *more))
            found.append(file)
            places += [file["at"]] if "at" in file else []
    _find_wrong_samples(entries["samples"].items() if "samples" in entries else ())
    for file in found:
        _find_wrong_values(file, choices)
        if "shape" in file:
            _find_wrong_shape(file["shape"].fields(shape_keys), choices)
    for place in places:
        _find_wrong_places(place, (*FOLDERS, *own))
    document.finish()


def _find_wrong_samples(samples: Iterable[YamlEntry]) -> None:
    for sample in samples:
        for each in sample.fields(SAMPLE_KEYS, required=("before",)).values():
            if each.is_mapping:  # the servers that are left
                each.expect_text()


def _find_wrong_values(
    entries: Mapping[str, YamlEntry], choices: Mapping[str, Sequence[str]]
) -> None:
    for key, entry in entries.items():
        if key in choices:
            entry.choice(dict.fromkeys(choices[key]))
        for each in entry.items() if key in LISTS else ():
            if LISTS[key]:
                each.choice(dict.fromkeys(LISTS[key]))
        if key in TEXT_KEYS and (entry.is_mapping or entry.is_list):
            entry.wrong("expected text, not a list or keys")
        elif key in TEXT_KEYS or entry.is_mapping:
            entry.expect_text()
        if key in (*_BRACES, *_EXPRESSIONS) and not (entry.is_mapping or entry.is_list):
            for what in wrong_text(key, entry.text() or ""):
                entry.wrong(what)
        if key == "servers":
            _find_wrong_paths(entry)


def wrong_text(key: str, text: str) -> Iterator[str]:
    """Each error in the braces of a text, or in an expression."""
    try:
        if key in _EXPRESSIONS:
            re.compile(text)
        parts = Formatter().parse(text) if key in _BRACES else ()
        for _, name, spec, conversion in parts:
            braces = f"{{{name}{f'!{conversion}' * bool(conversion)}{f':{spec}' * bool(spec)}}}"
            if name is not None and braces not in _BRACES[key]:
                yield _describe_choice(braces, _BRACES[key])
    except re.error as error:
        yield f"this is not a regular expression: {error}"
    except ValueError:
        yield "a brace has no partner"


def are_paths(servers: object) -> bool:
    """True for one key path or a list of them."""
    if not isinstance(servers, list):
        return False
    paths = servers if any(isinstance(each, list) for each in servers) else [servers]
    return all(isinstance(path, list) and all(isinstance(k, str) for k in path) for path in paths)


def _find_wrong_paths(entry: YamlEntry) -> None:
    keys = entry.items()
    paths = keys if any(each.is_list for each in keys) else [entry]
    for path in paths:
        for each in path.items():
            each.text()
            each.expect_text()


def _find_wrong_shape(shape: Mapping[str, YamlEntry], choices: Mapping[str, Sequence[str]]) -> None:
    _find_wrong_values(shape, choices)
    for each in shape["urls"].members().values() if "urls" in shape else ():
        if not each.is_null:
            each.choice(dict.fromkeys((*choices["untold"], "null")))
    for name, each in shape["words"].members().items() if "words" in shape else ():
        if name not in choices["untold"]:
            each.wrong(_describe_choice(name, choices["untold"]))
    for key in shape.keys() & {"foreign", "builtin", "fixed", "off"}:
        shape[key].members()


def _find_wrong_places(entry: YamlEntry, folders: Sequence[str]) -> None:
    if entry.is_mapping:
        for name, places in entry.members().items():
            if name not in SYSTEMS:
                places.wrong(_describe_choice(name, SYSTEMS))
            _find_wrong_places(places, folders)
        return
    for each in entry.items() if entry.is_list else [entry]:
        if (place := each.text()) is not None:
            for what in wrong_place(place, folders):
                each.wrong(what)


def wrong_place(place: str, folders: Sequence[str]) -> Iterator[str]:
    """Each error of a place; this is called for every place of every client."""
    for name in _NAMED_FOLDER.findall(place):
        if name not in folders:
            braces = [f"{{{folder}}}" for folder in folders]
            yield _describe_choice(f"{{{name}}}", braces)
    if not _START.match(place):
        home = "; for ~ write {home}" if place.startswith("~") else ""
        yield f"`{place}` begins with none of {{folder}}, $VARIABLE and /{home}"


def _describe_choice(word: str, words: Sequence[str]) -> str:
    near = suggestion(word, words, listed=True)
    return f"`{word}` is not one of {', '.join(words)}.{near}"
