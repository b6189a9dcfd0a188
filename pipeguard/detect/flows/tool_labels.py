"""Labels for a tool's abilities, from its definition: reads, takes in, sends, runs, keeps, undoes.

Uses only words, by the tables in detect.words.tools.
"""

from __future__ import annotations

from enum import Flag, auto
from functools import cache, reduce
from itertools import dropwhile, pairwise, takewhile
from operator import or_

from pipeguard.detect.words import tools as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.places import get_value
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import name_words, words_of_any_script

MOST_BEFORE_NOUN = 5  # words of a sentence, up to what its verb is about
READ_CHARS = 200  # of a description: the rest says little about the tool's function
# What is somebody's, as a description says.
_OWNED = lazy_regex(
    r"(?i)\b(?:my|(?:user|owner|customer|patient|account holder)['’]s?"
    r"|of (?:the|your|this|one) (?:\w+ )?(?:user|owner|customer|patient|person|account))\b",
)
_NO_BLANKS_BETWEEN = lazy_regex(
    r"[\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
_ADVERB = lazy_regex(r"(?!apply|reply).+ly")
_SEPARATOR = lazy_regex(r"[,;/&]")
_NO_WORDS: frozenset[str] = frozenset()


class DefinitionWords(NamedTuple):
    """The words of a definition.

    Attributes:
        name: words of the tool's name.
        verbs: words of the name, and the first words of the description.
        sentence: words of the name and of the description's first sentence.
        parameters: words of the parameters' names.
        is_owned: True if the first sentence says that its subject belongs to somebody.
        description: words of the name and of the part of the description that is read.
        plain: words of the same part, ignoring case: `GitHub` is one word.
        lead: forms of the verb that says what the tool does; empty if none is known.
        subject: the noun for what the tool handles; empty if none is known.
    """

    name: frozenset[str]
    verbs: frozenset[str]
    sentence: frozenset[str]
    parameters: frozenset[str]
    is_owned: bool
    description: frozenset[str]
    plain: frozenset[str]
    lead: frozenset[str]
    subject: str

    @property
    def is_calm(self) -> bool:
        """True if the leading verb changes nothing."""
        return not self.lead.isdisjoint(_CALM)

    @property
    def looks(self) -> bool | None:
        """True if the leading verb only reads or computes, None if it may do more.

        A verb that computes may also write the file that a parameter names.
        """
        is_made = self.parameters & lists.PATHS or ("convert" in self.lead and _labels(self))
        looks = self.lead & lists.LOOK and (self.lead & lists.READ or not is_made)
        return True if looks else (None if self.is_calm or not self.lead else False)


def definition_words(name: str, definition: JsonObject | None) -> DefinitionWords:
    """Split a tool's definition into words.

    Args:
        name: the tool's.
        definition: as `tools/list` gives it (MCP server/tools), or None if it was not listed.
    """
    of_name = _words(name)
    definition = definition or {}
    description = definition.get("description")
    text = description[:READ_CHARS] if isinstance(description, str) else ""
    sentence = text.partition(".")[0]
    named = get_value(definition, ("inputSchema", "properties"))
    beginning = sentence.split()[:2]
    told = words_of_any_script(_SEPARATOR.sub(" then ", sentence))
    in_name = words_of_any_script(name)
    told = [*dropwhile(lambda word: word in lists.FILLERS or _ADVERB.fullmatch(word), told)]
    lead = _find_lead(in_name, told)
    return DefinitionWords(
        name=of_name,
        verbs=of_name.union(lead, *(_verb_forms(word.lower().strip(",.:;")) for word in beginning)),
        sentence=of_name | _words(sentence),
        parameters=_NO_WORDS.union(*map(_words, named if isinstance(named, dict) else ())),
        is_owned=_OWNED.search(sentence) is not None,
        description=of_name | _words(text),
        plain=frozenset(name_words(text.lower())),
        lead=frozenset(lead),
        subject=_find_subject(told) or _find_subject(in_name),
    )


def _find_subject(words: list[str]) -> str:
    """The last one of the first nouns in a row, as in `customer invoices`; or empty."""
    begin = not _ACTS.isdisjoint(_verb_forms("".join(words[:1])))  # `Resumes a job`
    words = words[begin:MOST_BEFORE_NOUN]
    object_words = takewhile(lambda word: word not in lists.OF_NOUNS, words)
    known = (min((meanings(word) | {word}) & _NOUNS, default="") for word in object_words)
    nouns = takewhile(bool, dropwhile(lambda noun: not noun, known))
    return ([*nouns] or [""])[-1]


def _find_lead(of_name: list[str], of_sentence: list[str]) -> set[str]:
    """Forms of the verb that says what a tool does: the name's first, or else the description's.

    The description's decides if the name's may be a noun, such as `list` in `list_delete`, or
    changes nothing, while the description's does: `search_index_rebuild`.
    """
    joined = _find_joined(of_name, of_sentence)
    if joined or _offers(of_name, of_sentence):
        return joined or {"sell"}
    verbs = [it for at in range(len(of_name)) if (it := _find_verbs(of_name[at : at + 4])) & _VERBS]
    begins = [_find_verbs(of_sentence)] if _is_verb(of_sentence, of_name) else []
    is_noun = bool(begins and verbs and verbs[0] & lists.BOTH & _CALM)
    sure = [] if is_noun else [forms for forms in verbs if not forms & lists.BOTH]
    leads = sure[:1] + [forms for forms in begins if not sure or forms & _VERBS]
    if not leads:  # but `Results of a vote` is a thing
        leads = [forms for forms in verbs[:1] if forms & _CALM or "of" not in of_sentence[1:4]]
    acting = [forms for forms in leads if not forms & _CALM]
    return acting[0] if acting else set[str]().union(*leads)


def _is_verb(words: list[str], of_name: list[str]) -> bool:
    """True if a sentence begins with a verb.

    A word that may be a noun, or is in no table, needs an object, or to stand in the name.
    """
    if not words or words[0] in lists.NO_VERBS:
        return False
    forms = _find_verbs(words)
    after = words[1:2]
    bases = forms - {words[0]} or forms & _VERBS
    is_used = forms & _CALM or bases & {*of_name} or lists.DETERMINERS & {*after}
    is_sure = forms & _VERBS and not forms & lists.BOTH
    return bool(is_sure or (is_used and lists.OF_NOUNS.isdisjoint(after)))


def _verb_forms(word: str) -> set[str]:
    """A verb as it is, and without the ending of the third person."""
    endings = ("ies", "y"), ("es", ""), ("s", "")
    forms = (word.removesuffix(end) + rest for end, rest in endings if word.endswith(end))
    return {word, *forms}


def _words(text: str) -> frozenset[str]:
    words = words_of_any_script(text)
    for first, second in pairwise(words):
        if first in {"pull", "merge"} and second.startswith("request"):  # not a real request
            words = [*words, "pr"]
            words.remove(first)
            words.remove(second)
    return meanings(text).union(words)


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
    for word in {*words_of_any_script(text)}:
        whole = f"{word}_"
        meant |= {meaning for stem, meaning in stems.get(whole[:2], ()) if whole.startswith(stem)}
    return frozenset(meant)


@cache
def _stems() -> tuple[dict[str, list[tuple[str, str]]], list[tuple[str, str]]]:
    """Stems to look for at the start of a word, by two letters, and stems to look for anywhere.

    Each comes with its meaning.
    """
    from pipeguard.detect.words import tool_languages

    tables = tool_languages.tables()
    pairs = [(stem, meaning) for meaning, stems in tables.items() for stem in stems]
    beginning: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        beginning.setdefault(pair[0][:2], []).append(pair)
    anywhere = [pair for pair in pairs if _NO_BLANKS_BETWEEN.match(pair[0])]
    return beginning, anywhere


class Label(Flag):
    """The abilities of a tool, according to its definition."""

    NONE = 0
    READS_PRIVATE = auto()
    READS_PERSONAL = auto()  # data that its owner keeps private: mail, calendars, records
    READS_SECRET = auto()
    TAKES_IN = auto()  # text that third parties may have written
    SENDS = auto()  # to somewhere outside
    OUTSIDE = auto()  # to anybody, or to any address that a call names
    RUNS = auto()
    KEEPS = auto()  # data that later sessions will read
    UNDOES = auto()  # does something irreversible, such as deleting or paying
    WRITES = auto()  # files
    GUARDS = auto()  # changes safeguards: approvals, audit, policies
    HOLDS = auto()  # secrets, which it stores for the caller
    LISTS_PEOPLE = auto()  # data of which each row is about a person

    def meets(self, others: Label) -> bool:
        """True if the two share a label: as `&`, without making a Label first."""
        return self._value_ & others._value_ != 0


PRIVATE = Label.READS_PRIVATE | Label.READS_SECRET | Label.RUNS  # running code can read anything
ACTS = Label.RUNS | Label.KEEPS
CHANGES = ACTS | Label.UNDOES | Label.GUARDS
SINKS = Label.SENDS | Label.WRITES | CHANGES
NETWORK = Label.SENDS | Label.OUTSIDE | Label.TAKES_IN

_WRITING = lists.WRITE | lists.UNDO | lists.CHANGE
_PASSED = lists.RECIPIENT | lists.BODY | lists.GIVEN
_MADE = lists.WRITE | lists.MAKE | lists.REPORT
NOUNS = Label.SENDS | Label.KEEPS  # that a noun may give to a tool whose verb only looks
_NOUNS = lists.PERSONAL | lists.FILES | lists.OTHERS | lists.PEOPLE
_NO_FILES = lists.PUBLISHED | (lists.WEB - lists.FILES)
_ELSEWHERE = lists.REMOTE | lists.PUBLISH | lists.HOSTED | lists.CARRIES | lists.SEND
_MAKING = lists.MAKE | lists.WRITE
_ACTS = _WRITING | _MAKING | lists.SEND | lists.RUN | lists.END | lists.ALTER | lists.ADD
_ACTS = (_ACTS | lists.SHARE | lists.ACCEPT | lists.BOOK | lists.ACT) - {"new", "open"}
_CALM = lists.READ | lists.LOOK | lists.HARMLESS
_VERBS = _ACTS | _CALM
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
    VISIT = auto()  # an address, in which the call may have put data


def _acts(words: DefinitionWords, labels: Label) -> ToolAct:
    """The consequential acts of a tool with these words and labels."""
    if words.is_calm and not labels & Label.RUNS:
        return ToolAct.VISIT if words.parameters & lists.ADDRESS else ToolAct.NONE
    verbs = words.verbs
    name = words.name
    about = words.sentence | words.parameters
    is_filed = words.parameters & lists.PATHS
    sends = labels & Label.SENDS and not labels & Label.TAKES_IN
    kinds: tuple[tuple[ToolAct, object], ...] = (
        (ToolAct.SEND, sends),
        (ToolAct.VISIT, not sends and words.parameters & lists.ADDRESS),
        (ToolAct.RUN, labels & Label.RUNS),
        (ToolAct.PAY, name & lists.PAID),
        (ToolAct.DELETE, verbs & lists.END),
        (ToolAct.SHARE, verbs & lists.SHARE or (verbs & lists.ADD and name & lists.SHARED_WITH)),
        (ToolAct.CHANGE, verbs & lists.ALTER and about & lists.SENSITIVE),
        (ToolAct.CHANGE, verbs & lists.ACCEPT or (verbs & _MAKING and name & lists.SET_UP)),
        (ToolAct.CHANGE | ToolAct.SEND, name & lists.AUTOMATIC and verbs & _MAKING),
        (ToolAct.BOOK, verbs & lists.BOOK or (verbs & lists.PLAN and name & lists.BOOKED)),
    )
    acts = reduce(or_, (act for act, is_done in kinds if is_done), ToolAct.NONE)
    if labels & Label.WRITES or (acts and is_filed and _writes(words)):
        acts |= ToolAct.WRITE
    if words.lead and not acts & ~ToolAct.VISIT:
        acts |= ToolAct.WRITE if is_filed or name & lists.IN_FILES else ToolAct.CHANGE
    return acts


ToolKey = tuple[str, str]  # the server and the name of a tool


class Tool(NamedTuple):
    """A tool as flows see it.

    Attributes:
        name: the tool's.
        labels: its abilities.
        server: the server's name, if tools of several servers meet.
        stores: True if by its definition it writes or stores its input, and it names no network.
        reaches_out: True if its definition says that data leaves or enters this machine, or is too
            short to tell.
        acts: acts of consequence, which a text may order.
        looks: True if it only reads or computes, None if its definition does not tell.
    """

    name: str
    labels: Label
    server: str = ""
    stores: bool = False
    reaches_out: bool = False
    acts: ToolAct = ToolAct.NONE
    looks: bool | None = None

    @property
    def key(self) -> ToolKey:
        """The key that tells it from other servers' tools of the same name, such as `search`."""
        return self.server, self.name

    @property
    def is_sink(self) -> bool:
        """True if its input is looked up in earlier results, as for a tool of unknown abilities."""
        return self.labels.meets(SINKS) or self.labels is Label.NONE

    def is_file_reader(self, server: str) -> bool:
        """True if it reads a server's files, and neither a network nor personal data."""
        is_read = self.server == server and self.labels.meets(Label.READS_PRIVATE)
        return is_read and not self.labels.meets(NETWORK | Label.READS_PERSONAL | Label.RUNS)

    @property
    def is_consequential(self) -> bool:
        """True if calling it has, or may have, an effect."""
        return self.acts is not ToolAct.NONE or self.is_sink


def make_tool(name: str, definition: JsonObject | None) -> Tool:
    """A tool with its labels.

    A server's own word that it reaches nothing (`openWorldHint: false`) counts for nothing; that it
    reaches something is believed.
    """
    words = definition_words(name, definition)
    labels = _labels(words)
    is_open = get_value(definition, ("annotations", "openWorldHint")) is True
    leaves = labels & NETWORK or (words.description | words.plain) & _ELSEWHERE
    reaches_out = is_open or words.description <= words.name or bool(leaves)
    stores = _writes(words) and not (reaches_out or labels & Label.RUNS)
    waits = words.name >= {"create", "pr"} and "review" not in words.name  # for a merge
    acts = ToolAct.NONE if waits else _acts(words, labels)
    return Tool(name, labels, stores=stores, reaches_out=reaches_out, acts=acts, looks=words.looks)


def _find_verbs(words: list[str]) -> set[str]:
    """The forms of the verb at the start of some words, of which there is one at least."""
    forms = _verb_forms(words[0])
    if phrasal := {form + after for form in forms for after in words[1:2]}.intersection(lists.ACT):
        return phrasal  # such as `top_up`
    if "give" in forms and not lists.SHARED_WITH.isdisjoint(words[1:4]):
        return {"grant"}
    if words[0].endswith("ing"):
        forms |= {words[0][:-3], words[0][:-3] + "e"}
    if not forms & (lists.LOOK | _ACTS):
        forms |= {form[2:] for form in forms if form[:2] in lists.AGAIN} & _ACTS
        forms |= meanings(words[0])
    return forms


def _find_joined(of_name: list[str], of_sentence: list[str]) -> set[str]:
    """Verbs of acts joined to the first: `find_and_replace`, `Lists, adds or deletes jobs`."""
    if not lists.JOINS.isdisjoint(of_name) and not _ACTS.isdisjoint(of_name):
        return {*of_name} & _ACTS
    found = set()
    in_a_row = True
    is_third = "".join(of_sentence[:1]).endswith("s")
    triples = zip(of_sentence, of_sentence[1:], [*of_sentence[2:], ""], strict=False)
    for before, word, after in triples:
        in_a_row = in_a_row and not lists.JOINS.isdisjoint((before, word))  # before any object
        is_alike = word.endswith("s") is is_third and after in lists.DETERMINERS
        if in_a_row or (before in lists.JOINS and is_alike):
            found |= _verb_forms(word) & _ACTS
    return found - {"evaluate"}  # a calculator's verb


def _offers(of_name: list[str], of_sentence: list[str]) -> bool:
    """True if a thing is offered for others to buy; `List properties for sale` only finds some."""
    is_listed = "list" in of_name[:1] or of_sentence[:1] in (["list"], ["lists"])
    if not is_listed or lists.OFFERED.isdisjoint(of_name + of_sentence):
        return False
    are_several = any(word.endswith("s") and word != "lists" for word in of_sentence[:3])
    return not are_several or not lists.SINGULAR.isdisjoint(of_sentence[1:2])


def _labels(words: DefinitionWords) -> Label:
    sends = _sends(words)
    labels = _reads(words, is_quiet=not (_writes(words) or sends or words.verbs & lists.RUN))
    return labels | _outgoing(words, labels, sends=sends) | _changes(words, sends=sends)


def _writes(words: DefinitionWords) -> bool:
    return bool(words.verbs & _WRITING) and not words.is_calm


def _sends(words: DefinitionWords) -> bool:
    """True if a verb, or a noun such as `webhook`, says that something goes out."""
    name = words.name
    verbs = words.verbs
    parameters = words.parameters
    made = name if verbs & lists.READ else verbs
    is_remote = (words.description | words.plain) & (lists.HOSTED | lists.REMOTE)
    is_filed = parameters & lists.PATHS and not is_remote  # a text is made in a file
    posted = _POSTED - lists.MADE_IN_A_FILE if is_filed else _POSTED
    # The named thing is sent if no other verb handles it, and something is passed.
    is_handled = verbs & lists.READ or name & (lists.UNDO | lists.ARRANGE)
    passes = not parameters or parameters & _PASSED
    is_put = parameters & lists.STORED and (words.sentence | parameters) & lists.HOSTED
    return bool(
        verbs & lists.SEND
        or (verbs & lists.SENT & posted and passes and not is_handled)
        or (name & posted and name & lists.MAKE and not name & lists.ARRANGE)
        or (made & _MADE and (is_put or words.sentence & lists.REMOTE))
        or (words.description & lists.PUBLISH and not words.is_calm)
    )


def _outgoing(words: DefinitionWords, reads: Label, *, sends: bool) -> Label:
    """Label a tool that sends, and tell whether it can send to anybody.

    Args:
        words: of its definition.
        reads: labels of its results.
        sends: True if its words say that something goes out.
    """
    name = words.name
    parameters = words.parameters
    asks = bool(words.sentence & (lists.WEB | lists.NETWORK)) and not _writes(words)
    takes = parameters & (lists.REQUESTED | lists.BODY)
    is_addressed = parameters & lists.RECIPIENT and parameters & lists.BODY
    labels = Label.NONE
    if sends or (is_addressed and not words.is_calm):
        labels = Label.SENDS
    elif name & lists.RESOLVERS and not _writes(words):
        labels = Label.SENDS | Label.OUTSIDE
    elif asks and takes and not reads & Label.READS_PERSONAL:
        labels = Label.SENDS  # an address that is requested can carry anything
    is_public = words.description & (lists.PUBLIC | lists.REMOTE)
    if labels and (is_public or parameters & lists.ADDRESS):
        labels |= Label.OUTSIDE
    return labels


def _reads(words: DefinitionWords, *, is_quiet: bool) -> Label:
    """Label a tool's output.

    Args:
        words: of its definition.
        is_quiet: True if it does not write, send or run anything.
    """
    name = words.name
    sentence = words.sentence
    labels = Label.NONE
    reads = bool(name & lists.READ) or (is_quiet and bool(words.verbs & lists.READ or sentence))
    is_public = sentence & lists.PUBLISHED and not (words.is_owned and sentence & lists.TRACES)
    is_personal = sentence & lists.PERSONAL or sentence >= lists.ADDRESS_BOOK
    is_personal = (is_personal or words.is_owned) and not is_public
    if reads and (words.description & lists.RESTRICTED or is_personal):
        labels |= Label.READS_PRIVATE | Label.READS_PERSONAL
    elif reads and sentence & lists.FILES and not sentence & _NO_FILES:
        labels |= Label.READS_PRIVATE
    if labels and words.subject in lists.PEOPLE:
        labels |= Label.LISTS_PEOPLE
    if sentence & lists.SECRETS and (reads or name & lists.SECRETS):
        labels |= Label.READS_SECRET
    asks = name & lists.NETWORK and not name & lists.SEND
    if asks or name & lists.WEB or (reads and sentence & (lists.WEB | lists.OTHERS)):
        labels |= Label.TAKES_IN  # what third parties may have written
    return labels


def _changes(words: DefinitionWords, *, sends: bool) -> Label:
    """Abilities of a tool other than reading and sending."""
    name = words.name
    verbs = words.verbs
    labels = Label.NONE
    if (verbs & lists.RUN and not words.is_calm) or words.parameters & lists.CODE:
        labels |= Label.RUNS
    if verbs & lists.KEEP and (verbs & lists.WRITE or not verbs & lists.READ):
        labels |= Label.KEEPS
    if verbs & lists.UNDO and not words.is_calm:
        labels |= Label.UNDOES
    if verbs & lists.WRITE and words.parameters & lists.PATHS and not (labels or sends):
        labels |= Label.WRITES
    if name & lists.CHANGE and (words.sentence | words.parameters) & lists.GUARDED:
        labels |= Label.GUARDS
    stores_secrets = name & lists.SECRET_STORES and name & lists.WRITE
    if stores_secrets and not name & (lists.READ | lists.SEND):
        labels |= Label.HOLDS
    return labels
