"""The abilities of a tool by its definition: it reads, takes in, sends, runs, keeps, undoes.

Decides by words alone; detect.flows.tool_words reads them, and detect.words.tools lists them.
"""

from __future__ import annotations

import re
from enum import Flag, auto
from functools import cache
from itertools import pairwise

from pipeguard.detect.words import tools as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import name_words

READ_CHARS = 200  # of a description: what follows says little about what the tool does
_OWNED = lazy_regex(
    r"\b(?:my|(?:user|owner|customer|patient|account holder)['\u2019]s?"
    r"|of (?:the|your|this|one) (?:\w+ )?(?:user|owner|customer|patient|person|account))\b",
    re.IGNORECASE,
)
_NO_BLANKS_BETWEEN = lazy_regex(
    r"[\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
_WORD = lazy_regex(r"[^\W\d_]+")
_NO_WORDS: frozenset[str] = frozenset()


class DefinitionWords(NamedTuple):
    """The words of a definition.

    Attributes:
        name: of the tool's name.
        verbs: of the name, and what the description begins with.
        sentence: of the name and the first sentence of the description.
        parameters: of their names.
        is_owned: True where the first sentence says that what it is about is somebody's.
        description: of the name, and of all that is read of the description.
        plain: of the same part of the description, without regard to capitals: `GitHub` is one.
    """

    name: frozenset[str]
    verbs: frozenset[str]
    sentence: frozenset[str]
    parameters: frozenset[str]
    is_owned: bool
    description: frozenset[str]
    plain: frozenset[str] = _NO_WORDS


def definition_words(name: str, definition: JsonObject | None) -> DefinitionWords:
    """The words of a tool's definition.

    Args:
        name: the tool's.
        definition: as `tools/list` gives it (MCP server/tools), or None where it was not listed.
    """
    of_name = _words(name)
    if definition is None:
        return DefinitionWords(
            of_name, of_name, of_name, _NO_WORDS, is_owned=False, description=of_name
        )
    description = definition.get("description")
    text = description[:READ_CHARS] if isinstance(description, str) else ""
    sentence = text.partition(".")[0]
    schema = definition.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    parameters = _NO_WORDS
    if isinstance(properties, dict) and properties:
        parameters = _NO_WORDS.union(*map(_words, properties))
    beginning = sentence.split()[:2]
    return DefinitionWords(
        name=of_name,
        verbs=of_name.union(*(_verb_forms(word.lower().strip(",.:;")) for word in beginning)),
        sentence=of_name | _words(sentence),
        parameters=parameters,
        is_owned=_OWNED.search(sentence) is not None,
        description=of_name | _words(text),
        plain=frozenset(name_words(text.lower())),
    )


def _verb_forms(word: str) -> set[str]:
    """A verb as it is, and without the ending of the third person."""
    forms = {word}
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("es"):
        forms.add(word[:-2])
    if word.endswith("s"):
        forms.add(word[:-1])
    return forms


def _words(text: str) -> frozenset[str]:
    words = name_words(text)
    for first, second in pairwise(words):
        if first in {"pull", "merge"} and second.startswith("request"):  # nothing is requested
            words = [*words, "pr"]
            words.remove(first)
            words.remove(second)
    return frozenset(word for word in words if not word.isdigit()) | meanings(text)


def meanings(text: str) -> frozenset[str]:
    """Translate words of other languages in a text to English.

    Args:
        text: a name, or a sentence.
    """
    stems, anywhere = _stems()
    small = text.lower()
    meant = set()
    if not small.isascii():
        meant |= {meaning for sign, meaning in anywhere if sign.rstrip("_") in small}
    for word in set(_WORD.findall(small)):
        whole = f"{word}_"
        meant |= {meaning for stem, meaning in stems.get(word[0], ()) if whole.startswith(stem)}
    return frozenset(meant)


@cache
def _stems() -> tuple[dict[str, list[tuple[str, str]]], list[tuple[str, str]]]:
    """Stems that begin a word, by their first letter, and those that are looked for anywhere.

    Each with its meaning.
    """
    from pipeguard.detect.words import tool_languages

    pairs = [
        (stem, meaning) for meaning, stems in tool_languages.tables().items() for stem in stems
    ]
    anywhere = [pair for pair in pairs if _NO_BLANKS_BETWEEN.match(pair[0])]
    beginning: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        if pair not in anywhere:
            beginning.setdefault(pair[0][0], []).append(pair)
    return beginning, anywhere


class Label(Flag):
    """The abilities of a tool, as far as its definition says."""

    NONE = 0
    READS_PRIVATE = auto()
    READS_PERSONAL = auto()  # what its owner would show to nobody: mail, calendars, records
    READS_SECRET = auto()
    TAKES_IN = auto()  # what third parties may have written
    SENDS = auto()  # to somewhere outside
    OUTSIDE = auto()  # to anybody, or to any address that a call names
    RUNS = auto()
    KEEPS = auto()  # what later sessions will read
    UNDOES = auto()  # what cannot be taken back: deleting, paying
    WRITES = auto()  # files
    GUARDS = auto()  # changes safeguards: approvals, audit, policies
    HOLDS = auto()  # secrets, which it is given to keep

    def meets(self, others: Label) -> bool:
        """True where any of the others is among these: as `&`, which makes a Label first."""
        return self._value_ & others._value_ != 0


PRIVATE = Label.READS_PRIVATE | Label.READS_SECRET | Label.RUNS  # what runs can read anything
ACTS = Label.RUNS | Label.KEEPS
CHANGES = ACTS | Label.UNDOES | Label.GUARDS
SINKS = Label.SENDS | Label.WRITES | CHANGES
NETWORK = Label.SENDS | Label.OUTSIDE | Label.TAKES_IN

_WRITING = lists.WRITE | lists.UNDO | lists.CHANGE
_PASSED = lists.RECIPIENT | lists.BODY | lists.GIVEN
_MADE = lists.WRITE | lists.MAKE | lists.REPORT
_SURELY_SENT = lists.SENT - lists.SENT_OR_IN_A_FILE
_NO_FILES = lists.PUBLISHED | (lists.WEB - lists.FILES)
_ELSEWHERE = lists.REMOTE | lists.PUBLISH | lists.HOSTED | lists.CARRIES | lists.SEND
_MAKING = lists.MAKE | lists.WRITE
_ACTING = _WRITING | _MAKING | lists.SEND | lists.RUN | lists.END | lists.ALTER | lists.ADD
_ACTING |= lists.SHARE | lists.ACCEPT | lists.BOOK
_POSTED = lists.POSTED | lists.SENT | {f"{noun}s" for noun in lists.POSTED | lists.SENT}


class ToolAct(Flag):
    """The consequential acts of a tool."""

    NONE = 0
    SEND = auto()
    PAY = auto()
    DELETE = auto()
    SHARE = auto()  # with somebody, or invite somebody
    CHANGE = auto()  # credentials, recipients, permissions
    BOOK = auto()
    RUN = auto()
    WRITE = auto()  # a file
    VISIT = auto()  # an address, which the call may have put data in


def _acts(words: DefinitionWords, labels: Label) -> ToolAct:
    """The consequential acts of a tool with these words and labels."""
    verbs, name, acts = words.verbs, words.name, ToolAct.NONE
    if name & lists.READ and not labels & (Label.SENDS | Label.UNDOES | Label.RUNS):
        return ToolAct.VISIT if words.parameters & lists.ADDRESS else acts
    if labels & Label.SENDS and not labels & Label.TAKES_IN:
        acts |= ToolAct.SEND
    elif words.parameters & lists.ADDRESS:
        acts |= ToolAct.VISIT
    if name & lists.PAID:
        acts |= ToolAct.PAY
    if verbs & lists.END:
        acts |= ToolAct.DELETE
    is_added = verbs & lists.ADD and name & lists.SHARED_WITH
    if verbs & lists.SHARE or is_added:
        acts |= ToolAct.SHARE
    if _alters(words):
        acts |= ToolAct.CHANGE
    if name & lists.AUTOMATIC and verbs & _MAKING:
        acts |= ToolAct.CHANGE | ToolAct.SEND
    is_made = verbs & lists.PLAN and name & lists.BOOKED
    if verbs & lists.BOOK or is_made:
        acts |= ToolAct.BOOK
    return acts | _file_acts(words, labels, acts)


def _file_acts(words: DefinitionWords, labels: Label, acts: ToolAct) -> ToolAct:
    """The acts by which something runs, at once or as a file that is written."""
    writes = labels & Label.WRITES or (acts and words.parameters & lists.PATHS and _writes(words))
    written = ToolAct.WRITE if writes else ToolAct.NONE
    return written | (ToolAct.RUN if labels & Label.RUNS else ToolAct.NONE)


def _alters(words: DefinitionWords) -> bool:
    """True where something that matters is changed, accepted or set up."""
    about = words.sentence | words.parameters
    return bool(
        (words.verbs & lists.ALTER and about & lists.SENSITIVE)
        or words.verbs & lists.ACCEPT
        or (words.verbs & _MAKING and words.name & lists.SET_UP)
    )


class Tool(NamedTuple):
    """A tool as flows see it.

    Attributes:
        name: the tool's.
        labels: what it does.
        server: the name of its server, where tools of several meet.
        stores: True where it says that it writes or stores what it is given, and names no network.
        reaches_out: True where it says that something leaves this machine or comes from outside,
            and where its definition does not say enough to tell.
        acts: of consequence, which a text may order.
    """

    name: str
    labels: Label
    server: str = ""
    stores: bool = False
    reaches_out: bool = False
    acts: ToolAct = ToolAct.NONE

    @property
    def key(self) -> tuple[str, str]:
        """Tells it from tools of the same name, such as `search`, of other servers."""
        return self.server, self.name

    @property
    def is_sink(self) -> bool:
        """True where what goes to it is looked up, also where nothing says what it does."""
        return self.labels.meets(SINKS) or self.labels is Label.NONE

    @property
    def is_consequential(self) -> bool:
        """True where a call of it does something, or may."""
        return bool(self.acts) or self.is_sink


def make_tool(name: str, definition: JsonObject | None) -> Tool:
    """A tool with its labels.

    A server's own word that it reaches nothing (`openWorldHint: false`) counts for nothing; that it
    reaches something is believed.
    """
    words = definition_words(name, definition)
    labels = _labels(words)
    annotations = definition.get("annotations") if definition is not None else None
    is_open = isinstance(annotations, dict) and annotations.get("openWorldHint") is True
    tells = bool(words.description - words.name)
    leaves = labels & NETWORK or (words.description | words.plain) & _ELSEWHERE
    reaches_out = is_open or not tells or bool(leaves)
    stores = _writes(words) and not (reaches_out or labels & Label.RUNS)
    waits = "pr" in words.name and not words.verbs & (lists.ACCEPT | lists.END)  # for a merge
    acts = ToolAct.NONE if waits else _acts(words, labels)
    return Tool(name, labels, stores=stores, reaches_out=reaches_out, acts=acts)


def only_looks(name: str, definition: JsonObject) -> bool:
    """True if a tool's words say that it reads or computes, and none that it does anything else.

    The first verb of the name decides, or else the first word of the description. For tools
    without labels; a verb that may also make a file, such as `convert`, counts without a path.
    """
    words = definition_words(name, definition)
    of_name = name_words(name)
    description = str(definition.get("description") or "").lower().split()
    begins = _verb_forms(description[0].strip(",.:;")) if description else set()
    verbs = [word for word in of_name if word in lists.LOOK | _ACTING]
    joined = not {"and", "or", "then"}.isdisjoint(of_name)
    if begins & _ACTING - lists.LOOK or (joined and not _ACTING.isdisjoint(verbs)):
        return False
    looks = {*verbs[:1]} & lists.LOOK if verbs else begins & lists.LOOK
    return bool(looks & lists.READ or (looks and not words.parameters & lists.PATHS))


def find_labels(name: str, definition: JsonObject | None) -> Label:
    """Find what a tool does, by its name, the first sentence about it and its parameters.

    Args:
        name: the tool's.
        definition: as `tools/list` gives it (MCP server/tools), or None where it was not listed.
    """
    return _labels(definition_words(name, definition))


def _labels(words: DefinitionWords) -> Label:
    sends = _sends(words)
    labels = _reads(words, is_quiet=not (_writes(words) or sends or words.verbs & lists.RUN))
    return labels | _outgoing(words, labels, sends=sends) | _changes(words)


def _gives(words: DefinitionWords) -> bool:
    """True where a verb says that something comes back."""
    return bool(words.verbs & lists.READ)


def _writes(words: DefinitionWords) -> bool:
    return bool(words.verbs & _WRITING) and not words.name & lists.READ


def _sends(words: DefinitionWords) -> bool:
    """True where a verb, or a noun such as `webhook`, says that something goes out."""
    return (
        bool(words.verbs & lists.SEND)
        or _sends_by_noun(words)
        or (
            bool(words.name & _posted_nouns(words) and words.name & lists.MAKE)
            and not words.name & lists.ARRANGE
        )
        or _writes_remotely(words)
        or (bool(words.description & lists.PUBLISH) and not words.name & lists.READ)
    )


def _posted_nouns(words: DefinitionWords) -> frozenset[str]:
    """The nouns that are made where others read them; beside a path, a text is made in a file."""
    return _POSTED - lists.SENT_OR_IN_A_FILE if words.parameters & lists.PATHS else _POSTED


def _sends_by_noun(words: DefinitionWords) -> bool:
    """True where what is named is sent: nothing is done with it, and something is passed."""
    is_handled = _gives(words) or bool(words.name & (lists.UNDO | lists.ARRANGE))
    passes = not words.parameters or bool(words.parameters & _PASSED)
    nouns = _SURELY_SENT if words.parameters & lists.PATHS else lists.SENT
    return bool(words.verbs & nouns) and passes and not is_handled


def _writes_remotely(words: DefinitionWords) -> bool:
    made = words.name if _gives(words) else words.verbs
    return bool(made & _MADE and words.sentence & lists.REMOTE)


def _outgoing(words: DefinitionWords, reads: Label, *, sends: bool) -> Label:
    """True if a tool sends, and whether to anybody.

    Args:
        words: of its definition.
        reads: what comes back from it.
        sends: True where its words say that something goes out.
    """
    asks = bool(words.sentence & (lists.WEB | lists.NETWORK)) and not _writes(words)
    is_addressed = words.parameters & lists.RECIPIENT and words.parameters & lists.BODY
    labels = Label.NONE
    if sends or (is_addressed and not words.name & lists.READ):
        labels = Label.SENDS
    elif words.name & lists.RESOLVERS and not _writes(words):
        labels = Label.SENDS | Label.OUTSIDE
    elif (
        asks
        and words.parameters & (lists.REQUESTED | lists.BODY)
        and not reads & Label.READS_PERSONAL
    ):
        labels = Label.SENDS  # an address that is requested can carry anything
    is_public = words.description & (lists.PUBLIC | lists.REMOTE)
    if labels and (is_public or words.parameters & lists.ADDRESS):
        labels |= Label.OUTSIDE
    return labels


def _reads(words: DefinitionWords, *, is_quiet: bool) -> Label:
    """The output of a tool.

    Args:
        words: of its definition.
        is_quiet: True where it neither writes nor sends nor runs anything.
    """
    labels = Label.NONE
    reads = bool(words.name & lists.READ) or (is_quiet and bool(_gives(words) or words.sentence))
    is_public = words.sentence & lists.PUBLISHED and not (
        words.is_owned and words.sentence & lists.TRACES
    )
    is_personal = _is_personal(words) and not is_public
    if reads and (words.description & lists.RESTRICTED or is_personal):
        labels |= Label.READS_PRIVATE | Label.READS_PERSONAL
    elif reads and words.sentence & lists.FILES and not words.sentence & _NO_FILES:
        labels |= Label.READS_PRIVATE
    if words.sentence & lists.SECRETS and (reads or words.name & lists.SECRETS):
        labels |= Label.READS_SECRET
    if _reads_outside(words, reads=reads):
        labels |= Label.TAKES_IN
    return labels


def _is_personal(words: DefinitionWords) -> bool:
    return (
        bool(words.sentence & lists.PERSONAL)
        or words.sentence >= lists.ADDRESS_BOOK
        or words.is_owned
    )


def _reads_outside(words: DefinitionWords, *, reads: bool) -> bool:
    """True where third parties may have written what comes back."""
    return bool(
        words.name & lists.WEB
        or (words.name & lists.NETWORK and not words.name & lists.SEND)
        or (reads and words.sentence & (lists.WEB | lists.OTHERS))
    )


def _changes(words: DefinitionWords) -> Label:
    """Abilities of a tool other than reading and sending."""
    labels = Label.NONE
    if words.name & lists.RUN or words.verbs & lists.RUN or words.parameters & lists.CODE:
        labels |= Label.RUNS
    if words.verbs & lists.KEEP and (words.verbs & lists.WRITE or not _gives(words)):
        labels |= Label.KEEPS
    if words.verbs & lists.UNDO and not words.name & lists.READ:
        labels |= Label.UNDOES
    if words.verbs & lists.WRITE and words.parameters & lists.PATHS and not labels:
        labels |= Label.WRITES
    if words.name & lists.CHANGE and (words.sentence | words.parameters) & lists.GUARDED:
        labels |= Label.GUARDS
    stores_secrets = words.name & lists.SECRET_STORES and words.name & lists.WRITE
    if stores_secrets and not words.name & (lists.READ | lists.SEND):
        labels |= Label.HOLDS
    return labels
