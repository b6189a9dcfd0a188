"""Rules, read from packs and checked. Knows no engine.

A pack is a YAML document with the pack's name, its topic, defaults, and rules; docs/rules.md
describes each field. A rule that is not valid raises RuleError with the pack and the rule's id, and
nothing is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from pipeguard.detect.checks.registry import find_spec_error
from pipeguard.detect.matching.confirm import EXPRESSIONS, NAMED_GROUP, Finder
from pipeguard.detect.rules.expressions import FIELDS, Entry, Expressions
from pipeguard.errors import RuleError
from pipeguard.firewall.finding import Confidence, Severity, tells_private
from pipeguard.firewall.protocol.places import Surface, find_places, known_places
from pipeguard.records import NamedTuple
from pipeguard.unicode.display import suggestion

if TYPE_CHECKING:
    import yaml

MOST_ERRORS = 20  # of a pack, in a list
MAX_PATTERN_BYTES = 12_000  # Hyperscan refuses about 16,000


class View(Enum):
    """The kinds of readings that rules run over; detect.scanning.readings makes them."""

    TEXT = "text"
    FOLDED = "folded"
    SQUEEZED = "squeezed"
    JOINED = "joined"
    DECODED = "decoded"
    ACTS = "acts"

    __hash__ = object.__hash__  # as Direction's


class Written(Enum):
    """The effect on a match in an argument that is only written, said or looked for."""

    KEEP = "keep"
    LOWER = "lower"  # one step less sure
    DROP = "drop"  # no match
    VALUES = "values"  # no match, nor in a command, a program or a statement
    PARSED = "parsed"  # the same, except in a text that the tool itself reads, as a template
    ANYWHERE = "anywhere"  # kept, unless the text around it is about attacks


class Leaving(Enum):
    """The worth of a match in a call by where its string goes (detect.flows.way_out)."""

    KEEP = "keep"  # the same everywhere
    LOWER = "lower"  # one step less sure in data that the tool keeps on this machine
    RAISE = "raise"  # sure in an address, or in a request to another host
    ONLY = "only"  # the same, and elsewhere no match


class Boundary(Enum):
    """The characters that must not touch a match."""

    TOKEN = "token"  # noqa: S105  no letter or digit
    WORD = "word"  # the same, nor an underscore with one of these behind it
    NONE = "none"


Sample = str | Mapping[str, str]


class Rule(NamedTuple):
    """One entry of a pack.

    Attributes:
        id: pack, dot, name, as `secrets.aws-access-key-id`.
        title: for people.
        severity: how bad it is.
        confidence: of the pattern by itself.
        surfaces: the surfaces that it runs over.
        places: globs over places; empty for all.
        views: the views that it runs over.
        pattern: a regular expression over UTF-8 bytes that Hyperscan and RE2 both take; empty
            for a rule that has a model.
        model: the file of a classifier's weights next to the shipped packs, for matches that
            no pattern finds; or empty.
        sha256: of that file, in hexadecimal.
        sign: an expression found in every match of `pattern`, for the engine to look for; or
            empty.
        ignore_case: for ASCII letters.
        boundary: characters that must not touch a match, else confidence falls one step.
        require: checks without which there is no match (detect.checks.registry).
        check: checks that raise confidence when they hold and lower it when they fail.
        placeholders: True if placeholders do not match.
        written: what happens to a match in an argument that does nothing
            (detect.commands.argument_roles).
        quoted: True if a match inside quotes or code loses one step of confidence.
        leaving: the worth of a match by where its string goes.
        several: True if two different values in one message raise confidence one step.
        unless: an expression, of any case; a match in a sentence that it matches is only noted,
            and so is a secret inside its match; or empty. Its group `but` is excluded from it.
        doubted: an expression of the same kind; a match in a sentence that it matches may be
            doubted even if it is critical and sure; or empty.
        purpose: words for a tool's purpose (detect.scanning.facts); one of them
            makes a match in the tool's definition one step less sure.
        why: one sentence for a security engineer.
        fix: one sentence: the remedy.
        owasp: the risk in OWASP's lists, as `MCP03`, or empty.
        matches: samples that it must find.
        passes: samples that it must not.
        own: True for a rule of the user's own pack.
    """

    id: str
    title: str
    severity: Severity
    confidence: Confidence
    surfaces: frozenset[Surface]
    places: tuple[str, ...]
    views: frozenset[View]
    pattern: str
    model: str
    sha256: str
    sign: str
    ignore_case: bool
    boundary: Boundary
    require: tuple[str, ...]
    check: tuple[str, ...]
    placeholders: bool
    written: Written
    quoted: bool
    leaving: Leaving
    several: bool
    unless: str
    doubted: str
    purpose: tuple[str, ...]
    why: str
    fix: str
    owasp: str
    matches: tuple[Sample, ...]
    passes: tuple[Sample, ...]
    own: bool

    @property
    def pack(self) -> str:
        """The name of its pack."""
        return self.id.partition(".")[0]

    @property
    def is_private(self) -> bool:
        """True if its matches must not be shown."""
        return tells_private(self.id)

    @property
    def is_for_asking(self) -> bool:
        """True if it only applies to what a server asks its client."""
        return bool(self.places) and all(
            place.startswith(("elicitation.", "sampling.")) for place in self.places
        )


Rules = tuple[Rule, ...]


@lru_cache(1024)
def load_pack(text: str, source: str, *, proven: bool = False) -> Rules:
    """Read one pack.

    Args:
        text: the YAML document.
        source: its file's name, for errors.
        proven: True if tests tried its expressions; trying them takes most of the time.

    Raises:
        RuleError: naming source, line, rule and field.
    """
    import yaml

    try:
        reader = _loader()(text)  # a safe one
        root = reader.get_single_node()
        errors = [] if proven else [*_find_repeated(root)]
        document = reader.construct_document(root) if root is not None else None
    except yaml.YAMLError as error:
        mark = _describe_mark(getattr(error, "problem_mark", None))
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        raise RuleError(f"{source}{mark}: not valid YAML: {what}") from None
    rules: Rules = ()
    try:
        rules = _rules(document, errors, proven=proven)
    except RuleError as error:
        errors = [error]
    if errors:
        raise locate(errors, text, source)
    return rules


def locate(errors: Sequence[RuleError], text: str, source: str) -> RuleError:
    """The errors of a pack, each after the file, line and column to which its keys lead."""
    import yaml

    root = yaml.compose(text, _loader())
    lines = []
    for error in errors[:MOST_ERRORS]:
        node: yaml.Node | None = root
        mark = node.start_mark if node is not None else None
        for key in error.keys:  # as far as they exist
            children = node.value if node is not None and not isinstance(node.value, str) else []
            if isinstance(key, int):
                children = [(item, item) for item in children[key : key + 1]]
            else:
                children = [pair for pair in children if pair[0].value == key]
            if not children:
                break
            name, node = children[-1]
            mark = name.start_mark
        lines.append(f"{source}{_describe_mark(mark)}: {error}")
    if len(errors) > MOST_ERRORS:
        lines.append(f"… and {len(errors) - MOST_ERRORS} more")
    return RuleError("\n  ".join(lines))


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _describe_mark(mark: yaml.Mark | None) -> str:
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _rules(document: object, errors: list[RuleError], *, proven: bool) -> Rules:
    """The rules of a pack's document.

    Args:
        document: the pack.
        errors: gets the first error of each rule, with the keys that lead to it.
        proven: as in `load_pack`.

    Raises:
        RuleError: it is not a pack; with the keys that lead to the error.
    """
    if not isinstance(document, dict) or not isinstance(document.get("rules"), list):
        raise RuleError("a pack is a mapping with `pack`, `about` and `rules`")
    pack = str(document.get("pack", ""))
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,30}", pack):
        raise RuleError("`pack` must be a short lower-case name", "pack")
    if not document["rules"]:
        raise RuleError("`rules` is empty", "rules")
    _check_outer(document)
    defaults = document.get("defaults") or {}
    entries = enumerate(document["rules"])
    for keys, entry in ((("defaults",), defaults), *((("rules", i), each) for i, each in entries)):
        if not isinstance(entry, dict):
            raise RuleError(f"expected fields of a rule, not `{str(entry)[:40]}`", *keys)
    expressions = Expressions(document)
    rules = {}
    for index, entry in enumerate(document["rules"]):
        try:
            rule = _rule(pack, expressions.written_out({**defaults, **entry}), proven=proven)
        except RuleError as error:
            is_default = bool(error.keys) and {*error.keys} <= {*defaults} - {*entry}
            path = ("defaults",) if is_default else ("rules", index)
            keys = *path, *error.keys
            if not is_default or all(each.keys != keys for each in errors):
                errors.append(RuleError(f"{entry.get('id', '?')}: {error}", *keys))
            continue
        if rule.id in rules:
            errors.append(RuleError(f"{rule.id} is there twice", "rules", index))
        rules[rule.id] = rule
    return tuple(rules.values())


def _find_repeated(node: yaml.Node | None, *keys: str | int) -> Iterator[RuleError]:
    """Find the repeated keys of a document. YAML itself would silently take the last."""
    values = node.value if node is not None and not isinstance(node.value, str) else []
    lines: dict[str, int] = {}
    for index, value in enumerate(values):
        if not isinstance(value, tuple):
            yield from _find_repeated(value, *keys, index)
            continue
        key, child = value
        if not isinstance(key.value, str):
            continue
        if key.value in lines:
            what = f"`{key.value}` is repeated; first in line {lines[key.value]}"
            yield RuleError(what, *keys, key.value)
        lines.setdefault(key.value, key.start_mark.line + 1)
        yield from _find_repeated(child, *keys, key.value)


_OUTER = "pack", "about", "defaults", "blanks", "parts", "sign_without", "rules"


def _check_outer(document: dict[str, object]) -> None:
    """Check the keys of a pack other than its rules.

    Raises:
        RuleError: one is unknown, missing or has a wrong value.
    """
    for key in map(str, document):
        if key not in _OUTER:
            raise RuleError(f"unknown key `{key}`.{suggestion(key, _OUTER, listed=True)}", key)
    about = document.get("about")
    if not isinstance(about, str) or not about.strip():
        what = "`about` is a text" if "about" in document else "`about` is missing"
        raise RuleError(f"{what}: one sentence on what the pack finds", "about")
    if document.get("blanks") not in (None, "any"):
        raise RuleError(f"blanks: `{document['blanks']}` is not `any`, its only value", "blanks")


_Choice = TypeVar("_Choice", bound=Enum)
# The kinds of fields, and the values for missing fields.
_ENUMS = {
    "severity": Severity,
    "confidence": Confidence,
    "boundary": Boundary,
    "written": Written,
    "leaving": Leaving,
}
_SETS = {"surfaces": Surface, "views": View}
_FLAGS = {  # off, on
    "ignore_case": (False, True),
    "placeholders": (False, True),
    "quoted": ("keep", "lower"),
    "several": ("keep", "raise"),
}
_TUPLES = "places", "require", "check", "purpose", "matches", "passes"
_USUAL = {
    "boundary": "word",
    "written": "keep",
    "leaving": "keep",
    "views": ["text", "folded", "decoded"],
}


@cache
def _words(kind: type[_Choice]) -> dict[str, _Choice]:
    """The members of an enumeration by the words for them in packs."""
    return {item.value if isinstance(item.value, str) else item.name.lower(): item for item in kind}


def as_record(rule: Rule) -> dict[str, object]:
    """The rule as JSON values, for the cache of compiled rules."""
    record = rule._asdict()
    for name in _ENUMS:
        record[name] = record[name].name
    for name in _SETS:
        record[name] = sorted(item.value for item in record[name])
    return record


def from_record(record: dict[str, Any]) -> Rule:
    """The reverse of `as_record`, for a record that this program wrote; changes the record."""
    for name, kind in _ENUMS.items():
        record[name] = kind[record[name]]
    for name, kind in _SETS.items():
        record[name] = _set(kind, tuple(record[name]))
    for name in _TUPLES:
        record[name] = tuple(record[name])
    return Rule(**record)


@lru_cache(64)  # hundreds of rules have a dozen sets between them
def _set(kind: type[_Choice], words: tuple[str, ...]) -> frozenset[_Choice]:
    return frozenset(map(kind, words))


_NEEDED = "title", "severity", "confidence", "why", "fix", "matches", "passes"
_FIELDS = frozenset(Rule._fields) - {"own"}


def _rule(pack: str, entry: Entry, *, proven: bool) -> Rule:
    name = str(entry.get("id", "?"))
    if unknown := sorted(entry.keys() - _FIELDS):
        near = suggestion(unknown[0], sorted(_FIELDS), listed=True)
        raise RuleError(f"unknown field `{unknown[0]}`.{near}", unknown[0])
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,60}", name):
        raise RuleError("`id` must be 2 to 61 lower-case letters, digits and hyphens", "id")
    if missing := [f"`{field}`" for field in _NEEDED if not entry.get(field)]:
        raise RuleError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if not entry.get("model") and not entry.get("pattern"):
        raise RuleError("`pattern` is missing")
    _check_model(entry)
    values = _read_fields(entry)
    if not proven:
        for field in FIELDS:
            _try(field, values[field])
    owasp = str(entry.get("owasp") or "")
    if owasp and not re.fullmatch(r"(LLM|MCP|ASI)(0[1-9]|10)", owasp):
        lists = "LLM01 to LLM10, MCP01 to MCP10 and ASI01 to ASI10"
        raise RuleError(f"owasp: `{owasp}` is none of {lists}", "owasp")
    return Rule(
        **values,
        model=str(entry.get("model", "")),
        id=f"{pack}.{name}",
        title=str(entry["title"]),
        sha256=str(entry.get("sha256", "")),
        why=" ".join(str(entry["why"]).split()),
        fix=" ".join(str(entry["fix"]).split()),
        owasp=owasp,
        matches=_samples(entry, "matches"),
        passes=_samples(entry, "passes"),
        own=False,  # until the pack's owner is known
    )


def _read_fields(entry: Entry) -> dict[str, Any]:
    """The fields whose values are words or expressions."""
    values: dict[str, Any] = {field: str(entry.get(field) or "") for field in FIELDS}
    for field, kind in _ENUMS.items():
        values[field] = _find_word(field, _words(kind), entry.get(field, _USUAL.get(field)))
    for field, kind in _SETS.items():
        listed = entry.get(field, _USUAL.get(field))
        if not isinstance(listed, list) or not listed:
            are = f"`{field}` is missing" if listed is None else f"{field}: expected"
            raise RuleError(f"{are}: a list of {', '.join(_words(kind))}", field)
        values[field] = frozenset(_find_word(field, _words(kind), word) for word in listed)
    for field, (off, on) in _FLAGS.items():
        words = {str(word).lower(): word == on for word in (off, on)}
        values[field] = _find_word(field, words, str(entry.get(field, off)).lower())
    for field in _TUPLES[:4]:
        values[field] = _strings(entry, field)
    return values


def _check_model(entry: Entry) -> None:
    model = str(entry.get("model", ""))
    if model and not re.fullmatch(r"[a-z][a-z-]{1,30}\.model", model):
        raise RuleError("`model` is the name of a file that ends in .model", "model")
    if model and not re.fullmatch(r"[0-9a-f]{64}", str(entry.get("sha256", ""))):
        raise RuleError("`sha256` is missing: a model is only used if it is that file", "sha256")
    if model and "pattern" in entry:
        raise RuleError("a rule has a `model` or a `pattern`, not both", "model")


def _try(field: str, pattern: str) -> None:
    """Try an expression.

    Raises:
        RuleError: naming the error.
    """
    if not pattern:
        return
    if len(pattern.encode()) > MAX_PATTERN_BYTES:
        raise RuleError(f"`{field}` is longer than {MAX_PATTERN_BYTES} bytes", field)
    try:
        _ = EXPRESSIONS[pattern, False]
    except ValueError as error:
        raise RuleError(f"`{field}` is not a regular expression for RE2: {error}", field) from None
    if len(NAMED_GROUP.findall(pattern)) > 1:
        raise RuleError(f"`{field}` names several groups; only one can be the secret", field)
    if any(Finder(pattern, ignore_case=False).finditer(b"", 0, 0)):
        raise RuleError(f"`{field}` matches the empty text", field)


def _strings(entry: Entry, field: str) -> tuple[str, ...]:
    items = entry.get(field) or []
    if not isinstance(items, list) or any(isinstance(item, dict | list) for item in items):
        raise RuleError(f"`{field}` is a list of texts", field)
    for item in items:
        if field == "places" and not find_places(item):
            near = suggestion(item, known_places(), listed=True)
            raise RuleError(f"no place matches `{item}`.{near}", field)
        if field in ("require", "check") and (wrong := find_spec_error(item)):
            raise RuleError(wrong, field)
    return tuple(map(str, items))


def _samples(entry: Entry, field: str) -> tuple[Sample, ...]:
    samples = entry[field]
    if not isinstance(samples, list):
        raise RuleError(f"`{field}` is a list", field)
    for sample in samples:
        is_recipe = isinstance(sample, dict) and [*sample] == ["gen"]
        if not isinstance(sample["gen"] if is_recipe else sample, str):
            raise RuleError(f"a sample is a text or {{gen: recipe}}, not `{sample}`", field)
    return tuple(samples)


def _find_word(field: str, words: Mapping[str, Any], word: object) -> Any:
    if isinstance(word, str) and word in words:
        return words[word]
    near = suggestion(str(word), words, listed=True)
    raise RuleError(f"{field}: `{word}` is none of {', '.join(words)}.{near}", field)
