"""The two layouts of a message: which strings of its value are read, and in which order.

- Keyed, towards a server: each member as `key: value`, so that a rule can ask for the name before
  a value. A member without a string of its own has an empty one.
- Unkeyed, towards a client: the values in order, so that a sentence that is split over content
  blocks is read as the model reads it. After them come values with a sensitive key, behind that
  key; then keys and values from fixed lists (such as `type`), each once.

For each layout one function collects the strings, and another yields them in the same order with
their paths. The latter runs only if something was found, and no further than necessary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import repeat
from typing import TypeGuard

from pipeguard.detect.text.encoding import legible
from pipeguard.detect.words import credentials
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, Path, walk_values
from pipeguard.firewall.protocol.places import ARGUMENTS, FIXED_VALUE_KEYS

LONGEST_LISTED = 12  # characters, as `application/` has
MIN_NUMBER_DIGITS = 9  # shorter numbers identify nobody and nothing
MOST_COLUMNS = 4  # of a table, of which one may be the characters of a text
LEAST_CODES = 16  # numbers in a list that may be the characters of a text
_KEY_BYTES = lazy_regex(r"48(?: (?:1[0-9]{2}|2[0-4][0-9]|25[0-5]|[0-9]{1,2})){40,}")
_CHARACTERS: tuple[dict[str, str], ...] = tuple(
    {
        format(code, base) + fraction: chr(code)
        for code in (9, 10, 13, *range(0x20, 0x7F))
        for fraction in ("", ".0")
    }
    for base in "do"
)

Member = tuple[str | None, str]  # a key, which an item of a list does not have, and its string
# The path of a string, the length of `key: ` before it, and the string.
LocatedString = tuple[Path, int, str]
# The names around a string, and whether it is an argument: in no list and no object.
NamesAround = tuple[tuple[str, ...], bool]


LONGEST_KEY = 100  # characters: a longer key is a text and not a name
LONGEST_NAMED = 600  # characters of a value that is read together with its key

# Words of the names that rules ask for before a value: of credentials, then of personal numbers.
_SENSITIVE = lazy_regex(
    f"{'|'.join(credentials.in_order('KEYS'))}|"
    "card|cc|pan|iban|konto|account|ssn|social|tin|tax|routing|aba|npi|dea|nino|insurance|nhs|sin|"
    "nas|zehut|id.?n|person|pnr|amka|nir|secu|steuer|idnr|dni|nie|nif|fisc|bsn|pesel|cnp|egn|"
    "regist|niss|insz|cislo|číslo|rč|hetu|tunnus|ahv|avs|nss|pps|cpr|cpf|cnpj|cuit|cuil|rut|run|curp|"
    "aadh|uid|passport|mrz|vin|chassis|imei|tfn|abn|nric|fin|kimlik|tck|inn|snils|rrn|jumin|sfz|"
    "number|身份|居民|マイナ|個人|주민|инн|снилс|егн|αμκα|ת|आधार",
    re.IGNORECASE,
)


def is_sensitive(key: str) -> bool:
    """True for a key whose value may be private."""
    return len(key) <= LONGEST_KEY and _has_sensitive_word(key)  # longer keys fill the cache


@lru_cache(maxsize=4096)
def _has_sensitive_word(key: str) -> bool:
    return _SENSITIVE.search(key) is not None


def sensitive_label(value: JsonObject) -> str:
    """The name in an object such as `{"name": "API_KEY", "value": ...}`, if sensitive; else empty.

    Lists of variables and headers are written so.
    """
    content = value.get("value")
    if type(content) is not str or len(content) > LONGEST_NAMED:
        return ""
    for key in ("name", "key", "label", "variable"):
        name = value.get(key)
        if type(name) is str and is_sensitive(name):
            return name
    return ""


def collect_members(
    value: JsonValue, members: list[Member], values: list[str], keys: dict[str, None]
) -> bool:
    """Collect the strings of the keyed layout.

    Args:
        value: of the message.
        members: receives each member and each item of a list.
        values: receives the strings that are read joined, without any from fixed lists.
        keys: receives each key.

    Returns:
        True if there is a text of codes among them.
    """
    has_codes = False
    if text := text_of_codes(value):
        members.append((None, text))
        values.append(text)
        has_codes = True
    if type(value) is dict:
        for key, item in value.items():
            keys[key] = None
            string = (
                item
                if type(item) is str or (type(item) is Number and len(item) >= MIN_NUMBER_DIGITS)
                else None
            )
            members.append((key, string or ""))
            if string is not None and (key not in FIXED_VALUE_KEYS or not is_listed(string)):
                values.append(string)
            elif type(item) is dict or type(item) is list:
                has_codes = collect_members(item, members, values, keys) or has_codes
    elif type(value) is list:
        for item in value:
            has_codes = collect_members(item, members, values, keys) or has_codes
    elif type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS):
        members.append((None, value))
        values.append(value)
    return has_codes


def locate_members(value: JsonValue, *, has_codes: bool = True) -> Iterator[LocatedString]:
    """The strings of `collect_members` with their paths.

    Args:
        value: of the message.
        has_codes: what `collect_members` returned.
    """
    located: list[LocatedString] = [((), 0, value)] if _is_string(value) else []
    _locate_members(value, (), located, has_codes=has_codes)
    return iter(located)


def _locate_members(
    value: JsonValue, path: Path, located: list[LocatedString], *, has_codes: bool
) -> None:
    if has_codes and (text := text_of_codes(value)):
        located.append((path, 0, text))
    if type(value) is dict:
        for key, item in value.items():
            inner = (*path, key)
            located.append((inner, len(key) + 2, item if _is_string(item) else ""))
            if type(item) is dict or type(item) is list:
                _locate_members(item, inner, located, has_codes=has_codes)
    elif type(value) is list:
        for index, item in enumerate(value):
            if type(item) is dict or type(item) is list:
                _locate_members(item, (*path, index), located, has_codes=has_codes)
            elif _is_string(item):
                located.append(((*path, index), 0, item))


def collect_names(
    value: JsonValue, place: NamesAround, places: list[NamesAround], level: int, *, has_codes: bool
) -> None:
    """Collect the names around each string of `collect_members`, the outermost first.

    Args:
        value: of the message.
        place: of the value itself.
        places: receives each place.
        level: of `ARGUMENTS` that leads to the value; -1 if none does.
        has_codes: what `collect_members` returned.
    """
    if has_codes and text_of_codes(value):
        places.append(place)
    around, are_alone = place[0], level in (0, len(ARGUMENTS))
    if type(value) is dict:
        for key, item in value.items():
            inner = (*around, key), are_alone
            places.append(inner)
            if type(item) is dict or type(item) is list:
                leads = 0 <= level < len(ARGUMENTS) and key == ARGUMENTS[level]
                collect_names(item, inner, places, level + 1 if leads else -1, has_codes=has_codes)
    elif type(value) is list:
        inner = around, are_alone
        for item in value:
            if type(item) is dict or type(item) is list:
                collect_names(item, inner, places, -1, has_codes=has_codes)
            elif _is_string(item):
                places.append(inner)
    elif _is_string(value):
        places.append(place)


def text_of_codes(value: JsonValue) -> str:
    """The text that numbers of characters in a list or an object are; empty if they are none.

    The list may consist of rows, of which all numbers or one column are the text. The numbers may
    be decimal, or octal without a prefix. Numbers of the bytes of a key are in hexadecimal.
    """
    items = value.values() if type(value) is dict else value if type(value) is list else ()
    if len(items) < LEAST_CODES and list not in map(type, items):
        return ""
    rows = [item if type(item) is list else (item,) for item in items if type(item) is not dict]
    columns: list[list[JsonValue]] = [[number for row in rows for number in row]]
    table = [item.values() for item in items if type(item) is dict] or rows
    if len(table) >= LEAST_CODES and (table is rows) < len(table[0]) <= MOST_COLUMNS:
        columns += map(list, zip(*table, strict=False))
    texts: list[str] = []
    for at, column in enumerate(columns):
        numbers = [item for item in column if type(item) is Number]
        if len(numbers) >= LEAST_CODES:
            texts += _texts(numbers, is_column=at > 0)
    return "\n".join(texts)


def _texts(numbers: list[Number], *, is_column: bool) -> Iterator[str]:
    if numbers[0] == "48" and (digits := _KEY_BYTES.fullmatch(" ".join(numbers))):
        yield legible(bytes(map(int, digits[0].split()))).decode()
    numbers = [number for number in numbers if number != "0"]  # as between letters in UTF-16
    for by_number in _CHARACTERS[: 2 - is_column]:
        text = "".join(map(by_number.get, numbers, repeat("")))
        if len(numbers) >= LEAST_CODES and 4 * len(text) >= 3 * len(numbers) and not text.isdigit():
            yield text


def collect_values(
    value: JsonValue, values: list[str], named: list[str], keys: dict[str, None]
) -> None:
    """Collect the strings of the unkeyed layout.

    Args:
        value: of the message.
        values: receives the strings that are read in order.
        named: receives `key: value` for values with a sensitive key.
        keys: receives keys, and values from fixed lists.
    """
    if type(value) is dict:
        _collect_values_of_object(value, values, named, keys)
    elif type(value) is list:
        for item in value:
            if type(item) is str:
                values.append(item)
            elif type(item) is dict:
                _collect_values_of_object(item, values, named, keys)
            else:
                collect_values(item, values, named, keys)
    elif type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS):
        values.append(value)


def _collect_values_of_object(
    value: JsonObject, values: list[str], named: list[str], keys: dict[str, None]
) -> None:
    for key, item in value.items():
        keys[key] = None
        if type(item) is not str:
            if item is None or item is True or item is False:
                continue
            collect_values(item, values, named, keys)
            if type(item) is Number and len(item) >= MIN_NUMBER_DIGITS and is_sensitive(key):
                named.append(f"{key}: {item}")
        elif key in FIXED_VALUE_KEYS:
            keys[item] = None
        else:
            values.append(item)
            if len(item) <= LONGEST_NAMED and is_sensitive(key):
                named.append(f"{key}: {item}")
    if "value" in value and (label := sensitive_label(value)):
        named.append(f"{label}: {value['value']}")


def locate_values(value: JsonValue) -> Iterator[LocatedString]:
    """The strings of `collect_values` with their paths: `values`, then `named`."""
    for path, item in walk_values(value):
        if _is_string(item) and not (type(item) is str and path and path[-1] in FIXED_VALUE_KEYS):
            yield path, 0, item
    yield from _locate_named(value, ())


def _locate_named(value: JsonValue, path: Path) -> Iterator[LocatedString]:
    if type(value) is list:
        for index, item in enumerate(value):
            yield from _locate_named(item, (*path, index))
    if type(value) is not dict:
        return
    for key, item in value.items():
        yield from _locate_named(item, (*path, key))
        if _is_named(item, key):
            yield (*path, key), len(key) + 2, item
    if label := sensitive_label(value):
        yield (*path, "value"), len(label) + 2, str(value["value"])


def _is_named(item: JsonValue, key: str) -> TypeGuard[str]:
    """True for a value that is read once more, behind its key."""
    if type(item) is str:
        return key not in FIXED_VALUE_KEYS and len(item) <= LONGEST_NAMED and is_sensitive(key)
    return _is_string(item) and is_sensitive(key)


def find_keys(value: JsonValue) -> dict[str, Path]:
    """The first path of each key, and of each value from a fixed list."""
    paths: dict[str, Path] = {}
    for path, item in walk_values(value):
        key = path[-1] if path else None
        if type(key) is str:
            paths.setdefault(key, path)
            if key in FIXED_VALUE_KEYS and isinstance(item, str):
                paths.setdefault(item, path)
    return paths


def _is_string(value: JsonValue) -> TypeGuard[str]:
    """True for a string, and for a number that is long enough to identify somebody."""
    return type(value) is str or (type(value) is Number and len(value) >= MIN_NUMBER_DIGITS)


def is_listed(value: str) -> bool:
    """True for a word such as `text` or `image/png`; False for a piece of a secret."""
    if type(value) is Number:
        return False
    return len(value) <= LONGEST_LISTED and (value.islower() or value == "2.0")
