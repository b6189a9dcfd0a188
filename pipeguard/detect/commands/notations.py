"""The named values in a text: JSON, also as some parsers take it, YAML, TOML, XML, CSV and forms.

Has no grammar: it finds a name, a sign and a value, which is what each of these has. Knows no
roles.
"""

import json
import re

from pipeguard.detect.words import arguments as lists
from pipeguard.errors import Refusal
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import codes, strict_json, uris
from pipeguard.firewall.protocol.json_values import JsonValue

END_CHARS = 200  # of JSON, in which its last bracket is looked for

_SPACE = r"[\x20\t]"
_NAME = r"[\"']?([\w.-]{1,64})[\"']?"
# A mark of the encoding, and comments.
_BEFORE = r"(?>(?>[\s\ufeff]++|//[^\n]*+\n|\#[^\n]*+\n|/\*[^*]*+\*/|<!--[^>]*+-->)*)"
_JSON = lazy_regex(rf"{_BEFORE}[\[{{]\s*(?:[\"'\[{{/]|\w+\s*:)")
_JSON_END = lazy_regex(r"[\]}]\s*(?:(?://|/\*)[^\n]*\s*)?\Z")
_TABLE = lazy_regex(r"\ufeff?\w+(?:([,;\t])\w+)+\r?\n")
_FORM = lazy_regex(r"[\w.%+\[\]-]+=[^\s&]*(?:&[^\s&]*)*\s?\Z")
_NOTATION = lazy_regex(
    rf"{_TABLE.pattern}|{_FORM.pattern}|{_BEFORE}(?:<[?!]?[A-Za-z]|---\s|\[[\w.-]+\]\s"
    rf"|(?:-[ \t]+)*{_NAME}[ \t]?(?:=[ \t]?[\"']|:\s))"
)
# The name of a value that is run, in any of them.
_RUN = lazy_regex(
    rf"(?im)(?:^[ \t-]*|[<{{&,;\t\"'\s](?<!:\s))(?:{lists.alternatives('COMMAND')}"
    rf"|{lists.alternatives('STATEMENT')}|query)"
    r"[\"']?\s{0,4}[:=>,;\t\n]"
)
_LINE = rf"^({_SPACE}*)(?:-{_SPACE}+)*"
# Quotes end with the text at the latest, so that none is looked at twice.
_MEMBER = lazy_regex(
    rf"""(?msx)
    {_LINE}{_NAME}{_SPACE}*:{_SPACE}*[|>][-+\d]*{_SPACE}*\n  # a block of YAML
      ((?:{_SPACE}*\n|\1{_SPACE}[^\n]*(?:\n|\Z))+)
    | (?:(?<![\w.-]){_NAME}\s{{0,20}}[:=]\s{{0,20}})?(?:\"\"\"(.*?)(?:\"\"\"|\Z)
      | \"((?:[^\"\\]|\\.|\\\Z)*)(?:\"|\Z) | (?<!\w)'((?:[^'\\]|\\.|\\\Z)*)(?:'|\Z))
    | {_LINE}(?:{_NAME}{_SPACE}*(?::{_SPACE}|=){_SPACE}*|(?<=-\x20))([^\s\"'|>\[{{][^\n]*)
    | >([^<>]+)</(?:\w+:)?([\w.-]{{1,64}})
    | <!\[CDATA\[((?:[^\]]|\](?!\]>))*)(?:\]\]>\s*</(?:\w+:)?([\w.-]{{1,64}}))?
    """,
)
_NAMES = 2, 4, 9, 12, 14  # the groups
_VALUES = 3, 5, 6, 7, 10, 11, 13


def is_json(text: str) -> bool:
    """True for a list or an object in JSON, by its beginning and its end."""
    return bool(_JSON.match(text) and _JSON_END.search(text[-END_CHARS:]))


def names_command(text: str) -> bool:
    """True for a text in any notation in which a value has a name for what is run."""
    return bool(_NOTATION.match(text) and _RUN.search(text))


def find_members(text: str) -> JsonValue:
    """The values in a text, each with its name; none if it begins like no notation."""
    if not (_NOTATION.match(text) or _JSON.match(text)):
        return []
    if table := _TABLE.match(text):
        import csv  # here, because few texts are tables

        csv.field_size_limit(2**31 - 1)  # a field may be as long as a frame: it raises beyond it
        return [*csv.DictReader(text.splitlines(), restkey="", delimiter=table[1])]
    if _FORM.match(text):
        text = uris.unpercent(text.replace("&", "\n").replace("+", " "))
    return [
        {next(filter(None, each.group(*_NAMES)), ""): _unquote(each)}
        for each in _MEMBER.finditer(text)
    ]


def _unquote(member: re.Match[str]) -> str:
    """The value of a member without the escapes of JSON or XML."""
    from html import unescape  # here, because its table of names is large

    text = unescape(next(filter(None, member.group(*_VALUES)), ""))
    read = parse_json(f'["{text}"]') if "\\" in text else None
    return str(read[0]) if isinstance(read, list) else text


def parse_json(text: str) -> JsonValue:
    """The list or the object that an argument is in JSON; None for any other text.

    Raises:
        Refusal: an object in it has the same key twice, of which each parser takes its own.
    """
    text = text.lstrip("\ufeff \t\r\n")
    is_json = text[:1] in ("[", "{")
    try:
        read: JsonValue = json.loads(text, object_pairs_hook=_make_object) if is_json else None
        json.dumps(read if "\\ud" in text.lower() else 0, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return None if strict_json.nests_deeper_than(read, strict_json.MAX_DEPTH) else read


def _make_object(pairs: list[tuple[str, JsonValue]]) -> JsonValue:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise Refusal("protocol.duplicate-key", "JSON with a key twice", codes.INVALID_REQUEST)
    return members
