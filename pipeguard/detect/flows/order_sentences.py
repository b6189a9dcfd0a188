"""Sentences that tell a reader to do something, and the acts that they name. Knows only words."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from functools import cache, lru_cache
from itertools import pairwise

from pipeguard.detect.flows.overlap import letters
from pipeguard.detect.flows.tool_labels import ToolAct
from pipeguard.detect.flows.value_places import Place, plain
from pipeguard.detect.matching.confirm import find_signed
from pipeguard.detect.words import acts as tables
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple

# Addresses and accounts (ISO 13616) that an order may name; an id, a number.
STRONG = lazy_regex(
    r"""(?P<address>
    [\w.+-]{1,64}+@[\w-]{1,63}(?:\.[\w-]{1,63})+ | (?:https?://|www\.)[^\s\"'<>)\]}`,;]{3,300}
    | \b[A-Z]{2}\d{2}(?:\x20?[A-Z0-9]{4}){2,7}(?:\x20?[A-Z0-9]{1,4})?\b
    | \+\d[\d\x20()-]{6,20}\d
    | \b(?:[a-z0-9-]{1,63}+\.){1,4}(?:com|net|org|io|dev|app|example|info|co|ai|xyz|ru
        |cn|de|sh)\b(?:/[^\s\"'<>)\]}`,;]{0,300})?
    )
    | \b(?=[\w-]{0,40}\d)(?=[\w-]{0,40}[A-Za-z])[\w-]{6,64}\b
    | \b\d{6,34}\b""",
    re.IGNORECASE | re.VERBOSE,
)
# The words at which an address may begin, or any match of this.
_ADDRESS_SIGN = (
    r"@|//|www\.|\+\d|\b[A-Z]{2}\d{2}(?:\x20?[A-Z0-9]{4}){2}"
    r"|\.(?:com|net|org|io|dev|app|example|info|co|ai|xyz|ru|cn|de|sh)\b"
)
_STRONG_SIGN = rf"{_ADDRESS_SIGN}|\d{{6}}|[a-z][\w-]*\d|\d[\w-]*[a-z]"
STRONG_CHARS = 6  # letters and digits of a value that two texts do not share by chance
PASSED_ON_CHARS = 400  # of an order, in a message that passes on the document that it is in
SENTENCE_CHARS = 800  # of a sentence of a passage
SENTENCES_ABOVE = 7  # of a value, of which one may order something with it
LEAST_WORDS = 3  # of a sentence that orders something

# The end of a sentence, of a line that the next does not continue, of a string within JSON, of a
# cell in Markdown, of a block of HTML; the edges of an attribute, and what begins a postscript.
SENTENCE_END = lazy_regex(
    r"""(?x)
    [.!?…]++[\"'”’»)\]]*+\s++ | (?<=[a-zà-ÿ]{3})[.!?]+(?=[A-ZÀ-Þ]) | [。！？।؟]+
    | \n[^\S\n]*+\n\s*+ | (?:\\r)?\\n(?>(?:\\r|\\n|\s){1,500})*
    | \n(?=\s*(?:[-*•>#|]|\d{1,2}[.)]\s|[\w\x20-]{1,30}:(?!//)))
    | (?<!\\)[\"']\s*[,}\]:](?=[\s\"'{}\[\],]|$) | \s[–—]\s | ;\s | \|(?=\s)
    | [\"']?\s[a-zA-Z][\w:-]{1,40}=\\?[\"'] | \\?[\"']\s?/?> | </(?:p|li|h[1-6]|tr|div)>
    | (?<!\w)[Pp]\.?\s?(?:[Pp]\.?\s?)?[SsDd]\b\.?\s{0,2}[:–—-]?\s"""
)
_WORD = lazy_regex(r"[^\W_]+(?:['’-][^\W_]+)*|[:,;()*\"“¤]")
_WORDS = lazy_regex(r"[^\W\d_]{2,}")
_MENTION = lazy_regex(r"(?<![\w@])@[\w.-]{1,40}[,:]?(?=\s)")  # who is spoken to
# A tag of HTML, the end of a comment, or the end of a cell or line of a table, with its last word.
_BREAK = lazy_regex(
    r"""(?x)
    </?[A-Za-z][^<>]{0,200}> | <!-- | --> | mailto: | \t | \n(?=[^\n\t]{0,80}\t)
    | (?<=\S[,;])\w{1,40}\n(?=[^\n,;]{1,80}[,;](?:[^\s,;]|\x20¤))"""
)
_SPREADS = lazy_regex(
    rf"(?i)\b(?:{tables.alternatives('spreading')}|repl[yi]\w*)\b[^.!?\n]{{0,60}}"
    rf"\b(?:{tables.alternatives('spread')})\b",
)
# What mail programs write over a mail that is forwarded.
_FORWARDED = lazy_regex(
    r"(?im)^[-_ ]*(?:(?:begin )?forwarded message|original message|weitergeleitete nachricht"
    r"|urspr(?:ü|u)ngliche nachricht|message (?:transf|d'origine)|mensaje (?:reenviado|original))"
)
# Who is reached, behind the verb, and that nothing is sent there.
_REACHED = lazy_regex(
    r"(?:to )?(?:(?:[\w-]+ ){1,3}(?:at|via|on|under) )?¤(?: (?:[):;,]|if|for|or|when)|\Z)"
)
# What an order says of a value that is further down, or in the next cell.
_POINTING = lazy_regex(
    r"""(?xi) [:|]\W*\Z
    | \b(?:below|following|follows|underneath|beneath
    | at\x20the\x20(?:end|bottom) | (?:named|given)\x20here
    | (?:this|that)\x20(?:address|account|person|recipient|contact|number|iban|wallet)\b
    | folgende|unten | diese\w?\x20(?:e-?mail|adresse|konto) | ci-dessous|suivante?\b
    | cette\x20adresse|ce\x20compte | siguiente|abajo|esta\x20(?:direcci|cuenta)
    | seguente|sotto\b | seguinte|abaixo | hieronder|volgende | poniżej|następując)
    | ниже|следующ|下记|下記|以下|下面|아래|다음|أدناه|التالي|नीचे"""
)
# The name of one for whom something is, but for a state, and the field or the row before it. No
# order is in what is called so, such as the subject of a mail or the name of a job.
FOR_WHOM = (
    r"(?i:(?!(?:\w*ed|reply|sent)[\x20_-])(?:\w{1,20}[\x20_-])?"
    r"(?:to|with|recipients?|an|mit|à|para|aan|empfänger|destinat\w+))"
)
_CALLED = r"(?i:subject|betreff|objet|ass?unto|oggetto|onderwerp|summary|title|description|name)"
_TOLD_BESIDE = lazy_regex(
    rf"""(?x)
    (?:^|[\n<{{]|(?<![:=])(?<![:=]\x20)(?:\"|(?<!\w)'))(?![^\n:=>\"'<{{]{{0,40}}{_CALLED}[\"']?\s{{0,8}}[:=>])
      [^\n:=>\"'<{{]{{1,40}}[\"']?\s{{0,8}}[:=>]\s{{0,8}}[\"']?([^\s\"'<>{{}}\[\]]{{1,40}}\x20[^\"'\n<>{{}}\[\]]{{4,160}})
      (?:[\"',\n]|</\w+>)[\s\"',<-]*+{FOR_WHOM}[\"']?\s{{0,8}}[:=>]\s{{0,8}}[\"'<(]?\Z
    | (?:^|\n)(?![^\n]{{0,200}}\b{_CALLED}\b)[^\n]{{0,200}}[|,;\t]
      \s{{0,8}}{FOR_WHOM}\s{{0,8}}(?:[|,;\t][^\n]{{0,200}})?\n(?:[^\n]{{1,200}}\n){{0,30}}
      [\s\d|,;]{{0,20}}([^\n]{{1,200}})\Z"""
)
_LABEL_END = lazy_regex(r"\w*\s*\)")  # of a cell or a tag that is only a name
_CELL_END = lazy_regex(r"\||\t|[,;]")
_PAUSES = frozenset(':,;()*"“')


class _Verbs(NamedTuple):
    """The verbs of one act."""

    base: frozenset[str]
    passive: frozenset[str]
    stems: re.Pattern[str]


def find_strong(text: str, *, has_ids: bool) -> Iterator[tuple[str, bool]]:
    """The letters and digits of each address in a text, mapped to True, and of each id."""
    sign = _STRONG_SIGN if has_ids else _ADDRESS_SIGN
    for match in find_signed(STRONG, rf"\S*(?:{sign})\S*", text, after=64):  # characters
        is_address = match["address"] is not None
        spelt = letters(plain(match[0]))
        is_part = text.endswith("/", 0, match.start())  # of a path or a branch
        if len(spelt) >= STRONG_CHARS and (is_address or (has_ids and not is_part)):
            yield spelt, is_address


@cache
def _verbs(act: ToolAct) -> _Verbs:
    all_tables = tables.tables()
    name = "run" if act is ToolAct.VISIT else str(act.name).lower()
    base = all_tables[name]
    return _Verbs(
        frozenset(base),
        frozenset(map(_participle, base)),
        _stems(all_tables[f"{name}-stems"]),
    )


@cache
def _asking() -> re.Pattern[str]:
    return _stems(tables.tables()["asking-stems"])


def _stems(stems: Sequence[str]) -> re.Pattern[str]:
    """Stems at the start of a word, or anywhere in scripts without blanks."""
    parts = [(re.escape(stem[0]), *map(_sign, stem[1:])) for stem in stems]
    parts = [(*part[:-1], r"\b") if part[-1] == r"\s" else part for part in parts]
    begins = [part for part in parts if part[0] < "\u0600"]
    anywhere = [part for part in parts if part[0] >= "\u0600"]
    # German, Dutch and others put `ge` before a verb: "wird geändert".
    patterns = rf"\b(?:ge)?(?:{_factor(begins)})", _factor(anywhere)
    return re.compile("|".join(filter(None, patterns)), re.IGNORECASE)


def _sign(letter: str) -> str:
    return r"\s" if letter == "_" else re.escape(letter)


def _factor(words: Iterable[Sequence[str]]) -> str:
    """A pattern of words grouped by first letter: `re` tries one alternative after the other."""
    rests = defaultdict[str, list[Sequence[str]]](list)
    for first, *rest in words:
        rests[first].append(rest)
    return "|".join(
        first if [] in rest else f"{first}(?:{_factor(rest)})" for first, rest in rests.items()
    )


def _participle(verb: str) -> str:
    irregular = tables.pairs("irregular")
    if verb in irregular:
        return irregular[verb]
    if verb.endswith("e"):
        return f"{verb}d"
    return f"{verb[:-1]}ied" if re.search("[^aeiou]y$", verb) else f"{_double(verb)}ed"


def _double(verb: str) -> str:
    ends = re.search(r"(?:^|[^aeiou])[aeiou][bdgmnprt]$", verb)
    is_stressed = verb not in tables.in_order("stressed-before")
    return verb + verb[-1] if ends and is_stressed else verb


class OrderStrength(IntEnum):
    """The certainty that a sentence gives an order."""

    NONE = 0
    STATED = 1  # "refunds are sent to …"
    ASKED = 2


@lru_cache(64)  # a sentence is rated for one act after the other
def _read(sentence: str) -> tuple[str, list[str], set[str], bool]:
    """A sentence without values, its words in order and as a set, and whether it is English."""
    sentence = STRONG.sub(" ¤ ", sentence)  # an address may contain a verb
    sentence = _BREAK.sub(" ) ", _MENTION.sub(" : ", sentence))
    words = [word.lower().replace("’", "'") for word in _WORD.findall(sentence)]
    seen = set(words)
    least = 1 if len(words) < 9 else 2  # small words by which English is recognised
    return sentence, words, seen, sentence.isascii() and len(seen & tables.english) >= least


def rate_sentence(sentence: str, acts: ToolAct) -> OrderStrength:
    """Rate how a sentence orders one of some acts."""
    sentence, words, seen, is_english = _read(sentence)
    found = OrderStrength.NONE
    for act in acts:
        verbs = _verbs(act)
        asked = [at for at in _find_words(words, seen, verbs.base) if _is_asked(words, at)]
        # "contact us at …" and "write to …" give nobody anything.
        if not all(
            words[at] in tables.reaching and _REACHED.match(" ".join(words[at + 1 : at + 10]))
            for at in asked
        ):
            return OrderStrength.ASKED
        if asked:
            found = max(found, OrderStrength.STATED)
        for at in _find_words(words, seen, verbs.passive):
            found = max(found, _rate_passive(words, at))
        stem = None if is_english else verbs.stems.search(sentence)
        if stem is not None and not _LABEL_END.match(sentence, stem.end()):
            is_asked = _asking().search(sentence) or not sentence[: stem.start()].strip("\"'«“ ")
            found = max(found, OrderStrength.ASKED if is_asked else OrderStrength.STATED)
    return found


def _find_words(words: list[str], seen: set[str], wanted: frozenset[str]) -> list[int]:
    """The places of some words in a sentence, which usually has none."""
    if seen.isdisjoint(wanted):
        return []
    return [at for at, word in enumerate(words) if word in wanted]


def is_told_above(text: str, ends: Sequence[tuple[int, int]], start: int, acts: ToolAct) -> bool:
    """True if a sentence between some ends orders an act with a value below, or a field before."""
    beside = _TOLD_BESIDE.search(text, max(0, start - SENTENCE_CHARS), start)
    words = _WORDS.findall(beside[1] or beside[2]) if beside else ()
    if rate_sentence(" ".join(words), acts) is OrderStrength.ASKED:
        return True
    sentences = [text[first:last] for (_, first), (last, _) in pairwise(ends[-SENTENCES_ABOVE:])]
    sentences[-1] = text[ends[-2][1] : ends[-1][1]]
    return any(
        rate_sentence(each[: pointing.start()], acts) is OrderStrength.ASKED
        for each in sentences
        for pointing in _POINTING.finditer(each)
    )


def is_in_column(text: str, place: Place) -> bool:
    """True for a cell below or above another one that only has an address."""
    start, end = place
    above, _, begin = text[max(0, start - SENTENCE_CHARS) : start].rpartition("\n")
    rest, _, below = text[start : end + SENTENCE_CHARS].partition("\n")
    rows = begin + rest, above.rpartition("\n")[2], below.partition("\n")[0]
    column = len(_CELL_END.findall(begin))
    own, *others = (
        STRONG.fullmatch("".join(_CELL_END.split(row)[column : column + 1]).strip()) for row in rows
    )
    return own is not None and any(others)


def find_passage_acts(passage: str) -> ToolAct:
    """The acts that the sentences of a passage order."""
    found = ToolAct.NONE
    for sentence in SENTENCE_END.split(passage):
        for act in ToolAct:
            is_new = not act & found
            if is_new and rate_sentence(sentence[:SENTENCE_CHARS], act) is OrderStrength.ASKED:
                found |= act
    return found


def orders_spreading(passage: str) -> bool:
    """True if a passage may ask to pass itself on, as a chain letter does; English only.

    Always True for a passage in another language.
    """
    is_english = len(_read(passage)[2] & tables.english) > 1
    return not is_english or _SPREADS.search(passage) is not None


def is_quoted(
    around: str, text: str, value: str, leaves: Sequence[tuple[frozenset[str], str]]
) -> bool:
    """True for a message that has an order only because it also has the surrounding text.

    Or because it quotes the order's sentences as mails do: an answer has them, as well. In other
    languages than English, only if it goes to addresses in the text.

    Args:
        around: the order, and the text around it.
        text: the whole of it.
        value: letters and digits of the value that the call has.
        leaves: the strings of the call, each with the words of its name.
    """
    named = [each for keys, each in leaves if not keys & tables.prose]
    if value in letters(plain(" ".join(named))):
        return False
    messages = [plain(each) for keys, each in leaves if keys & tables.prose]
    may_spread = orders_spreading(around)
    passage = letters(plain(around))
    if not may_spread and any(passage in letters(each) for each in messages):
        return True
    small = text.lower()
    is_back = all(each.lower() in small for each in named if "@" in each)
    if may_spread and (_SPREADS.search(around) or not is_back):
        return False
    quoted = letters("\n".join(each for message in messages for each in _quotes(message)))
    sentences = [letters(plain(each)) for each in SENTENCE_END.split(around)]
    return value in quoted and all(each in quoted for each in sentences if value in each)


def _quotes(message: str) -> Iterator[str]:
    """Yield the quoted text of a mail: lines behind `>`, and all after a forwarded mail's head."""
    head = _FORWARDED.search(message)
    own, forwarded = (message[: head.start()], message[head.end() :]) if head else (message, "")
    yield from (line.lstrip()[1:] for line in own.splitlines() if line.lstrip().startswith(">"))
    yield forwarded


def is_forwarded(order: str, sent: str, recipients: Iterable[str]) -> bool:
    """True for a message that repeats an order and is not sent to anybody whom the order names.

    Args:
        order: the words from its beginning on, in small letters.
        sent: the message.
        recipients: the addresses that it goes to.
    """
    begin = order[:PASSED_ON_CHARS]
    is_named = any(each.lower() in order for each in recipients)
    is_repeated = not is_named and letters(begin) in letters(sent)
    return is_repeated and not orders_spreading(begin)


def has_words(sentence: str) -> bool:
    """True for a sentence with words next to its values."""
    return len(_WORDS.findall(_read(sentence)[0])) >= LEAST_WORDS


def _rate_passive(words: Sequence[str], at: int) -> OrderStrength:
    """Rate a participle at an index: "must be sent" asks, "is sent" states, "was sent" tells."""
    before = words[max(0, at - 4) : at]
    if {"was", "were", "been"} & {*before}:
        return OrderStrength.NONE
    is_obliged = "be" in before and tables.modals & {*before}
    if is_obliged or {"get", "have"} & {*before[-3:]} & {*words[:3]}:
        return OrderStrength.ASKED
    return OrderStrength(bool({"is", "are", "got", "gets"} & {*before}))


def _is_asked(words: Sequence[str], at: int) -> bool:
    """True if a verb in its base form, at an index, tells somebody to do it."""
    following = words[at + 1] if at + 1 < len(words) else ")"
    if len(words) < LEAST_WORDS or following in tables.noun_before:
        return False
    if at == 0 or words[at - 1] in {":", ";", "*"}:
        return ":" not in words[at + 1 : at + 3]  # "Deliver to:" is the name of a field
    before = words[at - 1]
    near = {*words[max(0, at - 3) : at]}
    far = {*words[max(0, at - 9) : at]}
    if before in _PAUSES:
        return not tables.determined & near
    if before in tables.links or before.endswith("ly"):  # "once done, also send"
        return not tables.subjects & near
    if before == "to":
        obliges = at > 1 and words[at - 2] in {"has", "have", "is", "are"}
        return bool(obliges or tables.obliging & far) and not {"i", "we", "i'd"} & {
            *words[max(0, at - 4) : at]
        }
    excluded = tables.conditions if before == "you" else frozenset({"i", "we", "they"})
    return before in tables.before_order and not excluded & near
