"""Orders in results, and the calls that carry them out: who ordered this act?

A sentence that tells its reader to do something, names an act and holds a value of a later call
(an address, an account, a link, an id) has ordered that call, unless the client named the value
before. Only the sentences around a call's few values in earlier results are read. That also finds
calm orders, which no rule over texts can tell from documents.

Knows verbs, sentences and values; detect.flows.ledger asks, and the policy decides.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from math import inf
from operator import itemgetter

from pipeguard.detect.flows.leak import ORDERED, Leak, OrderPassage
from pipeguard.detect.flows.order_sentences import (
    FOR_WHOM,
    SENTENCE_END,
    OrderStrength,
    find_passage_acts,
    find_strong,
    has_words,
    is_in_column,
    is_quoted,
    is_told_above,
    rate_sentence,
)
from pipeguard.detect.flows.overlap import letters
from pipeguard.detect.flows.tool_labels import ToolAct
from pipeguard.detect.flows.tool_results import STRING_END, ToolResult
from pipeguard.detect.flows.value_places import Place, SearchedText, plain
from pipeguard.detect.matching.confirm import occurs
from pipeguard.detect.words import acts as tables
from pipeguard.detect.words import alternatives
from pipeguard.detect.words import orders as order_words
from pipeguard.detect.words import tools as lists
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import name_words

# --- the values of a call ---------------------------------------------------------------------

MOST_VALUES = 64  # of a call that are looked up
VALUE_CHARS = 3, 160  # of one
LEAST_COMMAND = 10  # characters of a command that is looked up
MOST_STRINGS = 256  # of a call that are read
READ_CHARS = 4096  # of one of them
KEY_CHARS = 100  # of the name of one
DATA_CHARS = 8  # of a visited address: fewer carry no data

_TIME = lazy_regex(r"[\d\s:.,/TZ+-]*|\d{4}-\d{2}-\d{2}.{0,20}")
_COMMANDS = lists.CODE
_PATHS = lists.PATHS | {"files", "paths"}
# Commands that send, delete, publish or let somebody in; a download that is run, packages of
# another index, secrets that are shown.
_SIGNS_OF_ACTS = alternatives(
    r"""
    authorized_keys >>?\s?~
    [|]\s{0,4}(?:sudo\x20)?(?:(?:ba|z|da)?sh|python3?|node|perl|ruby|iex)\b <\(\s?(?:curl|wget)
    [$]\(\s?(?:curl|wget) (?:index-url|registry|trusted-host|--index)\b \bprintenv\b
    \b(?:auth|print-access)[-\x20]token\b \bsecrets?\b [$][{]?\w{0,40}(?:TOKEN|KEY|SECRET|PASS)
    \.(?:netrc|npmrc|pypirc|pgpass|aws|ssh|kube|gnupg)\b \bcredentials?\b \bid_(?:rsa|ed25519)\b
    \b(?:cat|less|head|tail|base64)\x20[^|;&]{0,80}\.env\b
    """
)
_ACTS = lazy_regex(
    rf"(?<![\w-])(?:{order_words.alternatives('ACTING_COMMANDS')}|remote (?:add|set-url)"
    r"|--(?:delete|data)[\w-]*|git config|(?:kubectl|oc) (?:apply|create|scale|patch|edit|exec|cp)"
    r"|(?:helm|terraform|tofu) (?:install|upgrade|apply|import)|(?:npm|pip|yarn) config"
    r"|(?:gh|glab) (?:api|auth|secret|variable|release|(?:repo|pr|mr) (?:edit|merge|review)))"
    rf"(?![\w-])|{_SIGNS_OF_ACTS}"
)
_JOINT = lazy_regex(r"&&|[|]{2}|[;\n]")  # between commands
# Commands of every day, which a text may tell to run.
_DAILY = lazy_regex(
    r"""(?x)
    (?:sudo\x20)?(?:rm|rmdir|mv|cp|dd|truncate|chmod|chown)\b | (?:apt|apt-get)\x20
    | git\x20(?:merge|rm)\b
    | git\x20push(?:\x20(?:-u|--set-upstream|--(?:follow-)?tags))?(?:\x20[\w./][\w./-]*)*\Z
    | docker\x20(?:build|run|compose|ps|logs)\b
    | [\w.-]+\x20(?:get|describe|logs|list|plan|version)\b"""
)
MOST_COMMANDS = 8  # of a call
# Files that run or are obeyed by themselves, or that say who may change what.
_OBEYED = lazy_regex(
    r"""(?xi)(?:^|/)(?:
    \.github/(?!ISSUE_TEMPLATE) | \.gitlab-ci | \.circleci/ | \.git/ | \.husky/ | \.vscode/
    | \.cursor | \.claude/ | \.mcp\.json | \.ssh/ | \.aws/ | codeowners\b | jenkinsfile\b
    | azure-pipelines | bitbucket-pipelines | (?:claude|agents?|gemini|memory)\.md\b
    | \.(?:bash|zsh)\w{0,10}\b | \.profile\b | \.netrc\b | \.npmrc\b | \.pypirc\b | pip\.conf\b
    | \.git(?:config|modules|attributes)\b | \.envrc\b | cron\w{0,8}\b | sudoers\b | systemd/
    | authorized_keys\b | \.pre-commit | \.windsurfrules | \.clinerules
    )"""
)
_PATH = lazy_regex(r"(?<![\w./~-])(?:~|/)(?:/?[\w.@-]{1,64}){1,12}/?")  # outside the work's folder


class Value(NamedTuple):
    """A value in the arguments of a call.

    Attributes:
        text: in small letters; for a strong value, only its letters and digits.
        is_strong: True if no two texts share it by chance.
        is_address: True for a strong value that is a destination, and is not in prose.
    """

    text: str
    is_strong: bool
    is_address: bool = False

    def occurs(self, small: str, letters: str) -> bool:
        """True if a text contains it, given in small letters and as only its letters and digits."""
        return self.text in (letters if self.is_strong else small)

    def find(self, text: SearchedText) -> Iterator[Place]:
        """Its places in a text, as a separate word."""
        return text.find_spelt(self.text) if self.is_strong else text.find_word(self.text)


def find_values(arguments: JsonValue, acts: ToolAct) -> list[Value]:
    """The values of a call that a text could have given it: no amounts, dates and prose.

    If the call only sends, just the destinations: a comment goes to the ticket it is about.
    """
    strong = {}
    weak: dict[str, None] = {}
    to_whom = lists.RECIPIENT, tables.persons, tables.threads
    may_name = bool(acts & ~ToolAct.SEND)
    for keys, text in _list_leaves(arguments):
        is_file = keys & _PATHS and not _OBEYED.search(text, 0, READ_CHARS)
        if acts is ToolAct.WRITE and (is_file or not keys & _PATHS):
            continue  # writing files is a coding agent's daily work
        is_quantity = keys & tables.quantities and not keys & tables.ids
        if is_quantity or (keys & _COMMANDS and not occurs(_ACTS, text[:READ_CHARS])):
            continue
        is_prose = bool(keys & _COMMANDS or (keys & tables.prose and not keys & tables.ids))
        names_it = not is_prose and (may_name or any(keys & words for words in to_whom))
        where, sign, data = text.partition("?")  # one may visit the part before it without data
        has_data = bool(sign) and len(data) >= DATA_CHARS
        read = text if acts is not ToolAct.VISIT else where if has_data else ""
        for spelt, is_address in find_strong(read[:READ_CHARS], has_ids=names_it):
            strong[spelt] = is_address and not is_prose
        if keys & _COMMANDS:
            weak |= dict.fromkeys(path[0].lower() for path in _PATH.finditer(text, 0, READ_CHARS))
            for command in _acting_commands(text):
                weak |= dict.fromkeys((command, *_find_names(command)))
        if is_file and not acts & ToolAct.DELETE:
            continue
        if names_it and acts is not ToolAct.VISIT and _is_name(keys, text):
            weak[text.strip().lower()] = None
    values = [Value(text, is_strong=True, is_address=to) for text, to in strong.items()]
    values += [Value(text, is_strong=False) for text in weak if letters(text) not in strong]
    return values[:MOST_VALUES]


def _acting_commands(text: str) -> Iterator[str]:
    """The commands of a line that send, delete, publish or let somebody in."""
    for part in _JOINT.split(text[:READ_CHARS])[:MOST_COMMANDS]:
        command = " ".join(part.split())
        is_long = LEAST_COMMAND <= len(command) <= VALUE_CHARS[1]
        if is_long and occurs(_ACTS, command) and not _DAILY.match(command):
            yield command.lower()


def _find_names(command: str) -> Iterator[str]:
    """The words of a command after its program and verb: branches, numbers, names."""
    for name in (word.strip("\"'${}") for word in command.split()[1:]):
        is_name = VALUE_CHARS[0] <= len(name) or name.isdigit()
        if is_name and name[0] not in "-$<>|&" and name not in tables.common:
            yield name


def _is_name(keys: frozenset[str], text: str) -> bool:
    """True for an argument that names something: an id, or a few uncommon words."""
    if keys & tables.ids and text.isdigit():
        return True
    is_short = VALUE_CHARS[0] <= len(text) <= VALUE_CHARS[1]
    is_plain = is_short and not keys & _COMMANDS and not _TIME.fullmatch(text)
    return is_plain and text.strip().lower() not in tables.common


def _list_leaves(value: JsonValue) -> list[tuple[frozenset[str], str]]:
    """The first strings, numbers and telling keys of arguments, each with the nearest name's words.

    Recipients come first, and the first item of each list, so that no other value hides them.
    """
    left: deque[tuple[frozenset[str], JsonValue]] = deque([(frozenset(), value)])
    leaves = []
    for _ in range(MOST_STRINGS):
        if not left:
            break
        keys, item = left.popleft()
        room = max(0, MOST_STRINGS - len(left))
        if isinstance(item, dict):
            pairs = [*islice(item.items(), room)]
            left += [(frozenset(name_words(key[:KEY_CHARS])), inner) for key, inner in pairs]
            leaves += [(keys, key) for key, _ in pairs if not key.isidentifier()]
        elif isinstance(item, list):
            left += [(keys, inner) for inner in item[:room]]
        elif isinstance(item, str):
            leaves.append((keys, str(item)))
    counts: Counter[frozenset[str]] = Counter()  # called by its alias, it takes a microsecond
    ranked = []
    for leaf in leaves:
        counts[leaf[0]] += 1
        ranked.append((leaf[0].isdisjoint(lists.RECIPIENT), counts[leaf[0]], leaf))
    return [leaf for *_, leaf in sorted(ranked, key=itemgetter(0, 1))]


# --- orders --------------------------------------------------------------------------------

AROUND_CHARS = 400  # of a value that are read, before and after it
MOST_READ = 512  # places of values that are read for one call
_OFTEN = ToolAct.RUN | ToolAct.VISIT | ToolAct.WRITE  # a coding agent's daily orders
_BY_COMMAND = ToolAct.SEND | ToolAct.PAY | ToolAct.DELETE | ToolAct.SHARE | ToolAct.CHANGE
PASSAGE_CHARS = 1200  # of an order, before and after its sentence
# The line of firewall.session.rewrite for a cut order, and possible ends of a record that had one.
_CUT = lazy_regex(r"\[PipeGuard cut \d+ characters here, [^\]]{0,80} which look like an order")
_RECORD_END = lazy_regex(r"(?i)(?<!\\)\"\s*[,}\]]|\n[ \t]*(?:from|von|de|da|van|od):")


class FoundOrder(NamedTuple):
    """An order that a call carries out.

    Attributes:
        is_certain: True if the sentence of the value asks for the act.
        start: of the words around the value, in the text.
        end: of these words.
        first: start of its passage.
        last: end of its passage.
    """

    is_certain: bool
    start: int
    end: int
    first: int
    last: int


# What is before a value that is all of a field.
_FIELD_BEFORE = lazy_regex(
    r"""(?x)(?:
    [\"']\s*[:,\[]\s*+\[?\s* | (?:^|\n)[\x20\t]*(?:[-*]\x20)?(?:[\w()-]{1,24}[\x20.]?){1,2}:\s*
    | (?:^|\n)[\x20\t]*-\s* | [\t|]\s* | \w[,;]
    )[\"'<]?\Z"""
)
_LIST_BEFORE = lazy_regex(
    r"(?:^|\n)[ \t>*-]*[\w ()-]{1,24}:\s*+(?:[^\s,;]++(?: [^\s,;]++){0,3}[,;]\s*+)*"
    r"(?:[^\s,;]++ ){0,3}[\"'<(]?\Z|[\w\"][,;]\s*\"\Z|\w[,;]\Z"
)
_FIELD_AFTER = lazy_regex(r"[\"'>]?[ \t]*(?:[,\n\t|}\])]|\Z)")
# An address or another value, perhaps with a name and brackets.
_FIELD = lazy_regex(r"(?:[^<]{0,80}<)?[\s\"']*([^<>()]{1,160}?)[\s\"']*(?:[>(].{0,80})?")
_SENDER_NAME = lazy_regex(rf"(?i){order_words.alternatives('SENDERS')}|reply[-_ ]?to")
_CHOSEN_NAME = lazy_regex(rf"{_SENDER_NAME.pattern}|{FOR_WHOM}")


def find_order(
    text: SearchedText, value: Value, acts: ToolAct, budget: Iterator[int]
) -> FoundOrder | None:
    """Find an order in a text that gives a value of a call and names its act.

    Args:
        text: the strings of a result, with their lines.
        value: in it.
        acts: of the called tool.
        budget: has an item for each place that may still be read.
    """
    places = zip(value.find(text), budget, strict=False)
    found = [_read_around(text.text, place, value, acts) for place, _ in places]
    return max(filter(None, found), key=itemgetter(0), default=None)


def _is_field(text: str, place: Place) -> bool:
    before = text[max(0, place[0] - AROUND_CHARS) : place[0]]
    return bool(_FIELD_BEFORE.search(before) and _FIELD_AFTER.match(text, place[1]))


def _read_fields(result: ToolResult) -> dict[str, list[list[str]]]:
    """The names on the paths of each field of a result, by what fills it."""
    fields = defaultdict[str, list[list[str]]](list)
    for path, text in result.fields():
        if field := _FIELD.fullmatch(plain(text)):
            for spelt in {field[1].lower(), letters(field[1])}:
                fields[spelt].append([step for step in path if isinstance(step, str)])
    return fields


def _read_around(text: str, place: Place, value: Value, acts: ToolAct) -> FoundOrder | None:
    """Find an order in the sentence around a value; also in adjacent ones for a strong value.

    An address that only running text gives needs no order, and neither does text after a cut order.
    """
    start, end = place
    low, high = max(0, start - AROUND_CHARS), min(len(text), end + AROUND_CHARS)
    is_grave = bool(acts & ~_OFTEN)
    is_certain = value.is_strong and is_grave
    string = text[max(0, start - PASSAGE_CHARS) : start].rpartition(STRING_END)[2]
    if cuts := [*_CUT.finditer(string)]:
        is_same = not _RECORD_END.search(string, cuts[-1].end())
        cut = start - len(string) + cuts[-1].start()
        return FoundOrder(is_certain and is_same, low, high, cut, end + PASSAGE_CHARS)
    ends = [match.span() for match in SENTENCE_END.finditer(text, low, high)]
    before = [(low, low), (low, low), *(each for each in ends if each[1] <= start)]
    after = [*(each for each in ends if each[0] >= end), (high, high), (high, high)]
    first, last = before[-1][1], after[0][0]
    rated = acts | _BY_COMMAND if acts & ToolAct.RUN else acts
    strength = rate_sentence(text[first:last], rated)
    if value.is_strong and not strength and is_told_above(text, before, start, rated):
        strength = OrderStrength.ASKED
    if strength is OrderStrength.NONE:
        beside = text[before[-2][1] : before[-1][0]], text[after[0][1] : after[1][0]]
        is_cell = text.startswith("|", last)
        is_near = value.is_strong and not is_cell and any(rate_sentence(x, rated) for x in beside)
        is_shown = (
            text.startswith(":", end)
            or _is_field(text, place)
            or _LIST_BEFORE.search(text, low, start)
            or not has_words(text[first:last])
        )
        if not is_near and (is_shown or not (value.is_address and is_grave)):
            return None
    is_certain = is_certain and strength is OrderStrength.ASKED
    return FoundOrder(is_certain, low, high, max(0, first - PASSAGE_CHARS), last + PASSAGE_CHARS)


# --- calls that carry out orders --------------------------------------------------------------


class CarriedOrder(NamedTuple):
    """An order of a result that a call carried out, or would have.

    Attributes:
        result: that gave it.
        order: the order.
        ordered: the acts that its passage names.
        passage: the words around its value.
        acts: of the call.
    """

    result: ToolResult
    order: FoundOrder
    ordered: ToolAct
    passage: str
    acts: ToolAct

    def leak(self) -> Leak:
        """The report to the policy."""
        name = self.result.source
        note = (
            f"a text in a result of {name!r} says to do this, and the client had not named this"
            " value. Ask the user whether to do what the text says"
        )
        confidence = Confidence.HIGH if self.order.is_certain else Confidence.MEDIUM
        passage = OrderPassage(plain(self.result.strings()), self.order.start, self.order.end)
        return Leak(ORDERED, Severity.HIGH, confidence, name, note, self.result, passage)


class ClientWords(NamedTuple):
    """The words of one request of the client.

    Attributes:
        number: of the request, among requests and results.
        text: its strings and numbers.
        small: its text in small letters.
        letters: only its letters and digits.
    """

    number: int
    text: str
    small: str
    letters: str

    @classmethod
    def read(cls, number: int, text: str) -> ClientWords:
        """Read a request."""
        return cls(number, text, text.lower(), letters(plain(text)))


class ActingCall:
    """A call of a tool with consequences, looked up in earlier results.

    Args:
        acts: of the tool.
        arguments: of the call.
        read_words: returns the client's earlier words, the oldest first.

    Attributes:
        values: of the call, which a text could have given it.
    """

    def __init__(
        self, acts: ToolAct, arguments: JsonValue, read_words: Callable[[], Sequence[ClientWords]]
    ) -> None:
        self._acts = acts
        self._said = cache(read_words)
        self._arguments = arguments
        self.values = find_values(arguments, acts)
        self._text = cache(lambda result: SearchedText(ToolResult.strings(result)))
        self._fields = cache(_read_fields)

    def find_order(self, results: Sequence[ToolResult]) -> CarriedOrder | None:
        """Find the surest order that the call carries out, starting with the latest result."""
        budget = iter(range(MOST_READ))
        having = [result for result in results if self._held_values(result)]
        found = [
            (value, result, order)
            for result in reversed(having)
            for value in self._new_values(result)
            if (order := find_order(self._text(result), value, self._acts, budget))
            and not (self._acts is ToolAct.SEND and self._is_sender(value, result))
        ]  # an answer to somebody needs no order
        ordering = {(value, result) for value, result, order in found if order.is_certain}
        is_field = cache(lambda value: any(self._is_field(value, r, ordering) for r in having))
        for value, result, order in found:
            if (
                order.is_certain
                and not is_field(value)
                and not self._is_only_quoted(value, self._text(result).text, order)
            ):
                return self._carry(result, order)
        for _, result, order in found[:1]:
            return self._carry(result, order._replace(is_certain=False))
        return None

    def _is_only_quoted(self, value: Value, text: str, order: FoundOrder) -> bool:
        """True in a message that also has the words around a value: a document is passed on."""
        if self._acts is not ToolAct.SEND or _CUT.search(text, order.first, order.last):
            return False
        around = text[order.start : order.end]
        leaves = _list_leaves(self._arguments)
        return is_quoted(around, text, value.text, leaves)

    def _carry(self, result: ToolResult, order: FoundOrder) -> CarriedOrder:
        text = self._text(result).text
        ordered = find_passage_acts(text[order.first : order.last])
        passage = " ".join(text[order.start : order.end].split())
        return CarriedOrder(result, order, ordered, passage, self._acts)

    def _held_values(self, result: ToolResult) -> list[Value]:
        return [each for each in self.values if each.occurs(result.small(), result.letters())]

    def _new_values(self, result: ToolResult) -> list[Value]:
        """The values in a result that the client had not named before it came."""
        return [v for v in self._held_values(result) if not self.is_named(v, result.number)]

    def is_named(self, value: Value, before: float = inf) -> bool:
        """True if the client named a value before the request or result with this number."""
        said = (each for each in self._said() if each.number < before)
        return any(value.occurs(each.small, each.letters) for each in said)

    def find_part(self, carried: Iterable[CarriedOrder]) -> CarriedOrder | None:
        """Find an order that was carried out before, if this call is another part of it.

        Its passage names the act, and gives a value of the call; or, if no earlier call did the
        same, the result contains a value of the call, or the call has no values. Values that the
        client had named do not count, nor does the text's sender.
        """
        acts = self._acts & ~ToolAct.WRITE  # files are edited often
        for each in carried:
            if not each.ordered & acts:
                continue
            new = [v for v in self._new_values(each.result) if not self._is_sender(v, each.result)]
            passage = SearchedText(each.passage)
            if any(next(value.find(passage), None) for value in new):
                return each
            unnamed = [value for value in new if not self.is_named(value)]
            is_new = not each.acts & acts and acts & ~_OFTEN and each.acts & ~_OFTEN
            if is_new and (unnamed or not self.values):
                return each
        return None

    def _is_sender(self, value: Value, result: ToolResult) -> bool:
        """True if a value names the sender of a mail in a result."""
        paths = self._fields(result).get(value.text, ())
        return any(_SENDER_NAME.fullmatch(name) for path in paths for name in path)

    def _is_field(self, value: Value, result: ToolResult, ordering: Container[object]) -> bool:
        """True if a value fills a field that a program wrote.

        That is one of structured output, but for a title, a text or a label, or one in the text of
        a result that does not give the order: that one chooses from and for whom something is.
        """
        own = (value, result) in ordering
        names = tables.prose | tables.quantities
        lasts = [path[-1] for path in self._fields(result).get(value.text, ()) if path]
        text = self._text(result)
        places = [*value.find(text)]
        chosen = _SENDER_NAME if places[1:] else _CHOSEN_NAME
        fields = [name for name in lasts if not (own and chosen.fullmatch(name))]
        if any(names.isdisjoint(name_words(name)) for name in fields):
            return True
        return any((is_in_column if own else _is_field)(text.text, place) for place in places)
