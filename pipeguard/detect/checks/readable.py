"""Words in a supposed secret, public ids in paths, and the object of an order in a sentence.

Knows no rule.
"""

import re
from functools import cache, lru_cache
from itertools import islice, pairwise

from pipeguard.detect.checks.outcome import AROUND, Checks, Outcome
from pipeguard.detect.words import orders
from pipeguard.firewall.lazy_regex import lazy_regex

# Builds and commits in paths, which are public: `_next/static/ID/`, `app-HASH.js`, `commit/ID`.
BUILD_ID = lazy_regex(
    r"""(?x)(?<![\w-])(
    _next/(?:static|data)/[\w-]{21}(?=/)
    | (?:blame|blob|commits?|compare|raw|tree)/[0-9a-f]{40}(?![\w-])
    | (?:(?:[0-9a-f]{1,8}|[A-Za-z]{1,30}[0-9]{0,2})[-_.~]){1,6}(?:[0-9a-f]{8,32}|[\w-]{8,12})
      (?:\.(?:bundle|chunk|esm|min|module)){0,2}
      \.(?:css|gif|ico|jpe?g|m?js|map|png|svg|ttf|wasm|webp|woff2?)(?![\w-])
    )"""
)

LONG_TOKEN = 36  # characters; a shorter one has too few words to decide


def readable_chars(body: bytes) -> int:
    """Count the characters in readable words."""
    runs = (run.lower() for run in re.findall(rb"[A-Z]?[a-z]{3,}|[A-Z]{4,}", body))
    return sum(len(run) for run in runs if _is_word(run, share=0.6))


@lru_cache(4)  # a match is rated as a secret, and then as a sample
def reads_as_words(body: bytes, pattern: str) -> bool:
    """True for a long text that is composed of words, and not drawn at random.

    Words that the rule's pattern asks for do not count. Of 5,000 random texts of 36 to 120
    characters 0.1 to 4 % read so, most of them of small letters alone.
    """
    if len(body) < LONG_TOKEN:
        return False
    expected = pattern.lower().encode()
    runs = [run.lower() for run in re.findall(rb"[A-Z]?[a-z]{4,}|[A-Z]{5,}", body)]
    words = [run for run in runs if run not in expected and _is_word(run, share=0.8)]
    has_no_digit = "0-9" in pattern and len(body) >= 40 and not re.search(rb"[0-9]", body)
    return len(words) > 1 or 5 * readable_chars(body) >= 2 * len(body) or has_no_digit


def _is_word(run: bytes, share: float) -> bool:
    """True if at least this share of its pairs of letters is common."""
    pairs = len(run) - 1
    return sum(map(_common_pairs().__contains__, pairwise(run))) >= share * pairs


@cache
def _common_pairs() -> frozenset[tuple[int, ...]]:
    from pipeguard.detect.words import english

    return frozenset(map(tuple, map(str.encode, english.LETTER_PAIRS)))


def has_date(body: bytes) -> bool:
    """True if a text contains a date or a time of day."""
    return _DATE_OR_TIME.search(body) is not None


_DATE_OR_TIME = lazy_regex(rb"(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]|[0-9]{2}:[0-9]{2}:[0-9]{2}")
_EARLIER = orders.alternatives("EARLIER")
_RULES = orders.alternatives("RULES")
_NOUNS = orders.alternatives("NOUNS")
_OWN = orders.alternatives("OWN_OF_MODEL")
_MODEL = rf"{orders.alternatives('MODELS')}|(?:chat\x20?|ro)?bots?|gpt[\w.-]*"
_OF_MODEL = rf"{_OWN}|{_MODEL}|{orders.alternatives('OF_MODEL')}|ethic\w*"
_READERS = rf"{_MODEL}|{orders.alternatives('READERS')}|(?:process|summar)\w*"
_READING = (
    rf"{_OF_MODEL}|{orders.alternatives('READING')}"
    r"|(?:read|pars|answer|handl|open|receiv|translat)\w*"
)
# "discard requests while an old command": a clause names the program, which is not dropped.
_CLAUSE = lazy_regex(
    rf"(?i)(?:(?!\b(?:{_EARLIER}|{_OWN}|{_RULES})\b)[^.!?])*"
    r"\b(?:while|when|whenever|until|if|once|after|before)\s+(?:the\s+|an?\s+)?"
    rf"(?:{_EARLIER})\s+(?:{_RULES})".encode()
)
# A clause without an order, and a number, as in subjects of commits.
_TAIL = (
    r"(?:\s+(?:when|while|if|on|in|after|before|during|until|unless|at|for|from|beyond|without|with|by|of"
    r"|per|once|because|since)\b(?:\s+(?!(?:and|then|but|so|instead|please|now|must|reply)\b)"
    rf"(?!(?:{_OWN}|{_MODEL}|you|this|these|following|below|here)\b)[\w'`/.-]*[\w'`])"
    r"{1,12})?(?:\s*\(\#?[0-9]{1,6}\))?\s*\.?\s*(?:[\"'\n]|\Z)"
)


def _thing_pattern(parts: str) -> re.Pattern[bytes]:
    """A pattern for an order, NUL and its context, if parts after its noun make it a thing's."""
    return lazy_regex(
        rf"(?is)(?:(?!\b(?:{_OF_MODEL})\b).)*\b(?:{_EARLIER}|initial)\s+(?:"
        rf"(?:(?!(?:{_OF_MODEL}|and|or)\b)[\w'-]+\s+){{0,2}}(?:{_NOUNS})\0"
        rf"(?:\s+(?>{orders.alternatives('PARTS_OF_THINGS')})){{1,3}}"
        rf"(?:{parts})"
        rf"|(?:(?!(?:{_OF_MODEL}|and|or)\b)[a-z]{{3,14}}\s+){{1,2}}"
        rf"and\s+(?:{orders.alternatives('UPKEEP')})\s+"
        rf"(?:(?!(?:{_OF_MODEL}|and|or)\b)[\w'-]+\s+){{0,2}}(?:{_NOUNS})\0)".encode()
    )


# "ignore the old rules table if it is empty", "ignorePreviousErrorsAndResetPrompt": a thing's name.
_THING = _thing_pattern(rf"\b(?:{_TAIL}|[(\[{{)\]}}\"'`>]|\s*=|;\s*(?:\n|\Z))")
# The same in camel case, possibly without its spaces and signs.
_NAMED_THING = _thing_pattern(r"\b[^\w\s]|\Z|\B(?!and|then|you|the|in|to|ed|en)[a-z0-9]")
_SHOWING = lazy_regex(rb"(?i)\band\s+(?:show|print|display)\b")  # may also ask a model for its own
_NAME = lazy_regex(rb"[A-Za-z0-9 ]+")  # a long name, read as words
# "Users who upgrade should forget the earlier delivery rules": an order to others.
_OTHERS = lazy_regex(
    rf"""(?isx)[\s*\#>•-]*(?:(?:the|our|all|any|new|most|some)\s+)?
    # Some people, and no reader of the text,
    (?!(?:{_READERS})\b)
    (?:[a-z]{{3,16}}s|people|staff|(?:any|every)(?:one|body)(?=\s+(?:who|that|with|in|on))
      |those(?=\s+(?:who|that|with|in|on)))
    (?:\s+(?:who|that|whose|in|with|on|at|of|from)
      (?:\s+(?!(?:{_READING}|{_READERS})\b)[\w'.-]*\w){{1,10}})?
    # should drop something,
    \s+(?:should|must|shall|may|can|will|need\s+to|have\s+to)
    \s+(?:(?:now|then|simply|just)\s+)?[a-z]+
    (?:\s+(?:not|longer|aside|to|follow|obey|observe|heed))*(?:\s+(?:the|all|any|our|of))*
    # which is no model's, and nothing else.
    \s+(?:{_EARLIER})\s+(?:(?!(?:{_OF_MODEL}|{_RULES}|and|or)\b)[a-z][\w-]{{2,16}}\s+){{1,2}}
    (?:{_NOUNS})\0
    (?![^.!?\n]*(?:@|://|~/|\b(?:you|your|it|passw\w*|secrets?|tokens?|credentials?|keys?
      |assistant|ignore|disregard|forget)\b))""".encode()
)
_HUMP = lazy_regex(rb"(?<=[a-z\0])(?=[A-Z])|[_-](?=[A-Za-z])")
_SENTENCE_START = lazy_regex(rb"(?s).*(?:[.!?:;]\s|\n)")
_CAMEL = lazy_regex(rb"[a-z][A-Z]")
BEFORE_BYTES = 240  # of a sentence, before a match or after it
MOST_PLACES = 8  # of one match
FEW_CAMEL_WORDS = 3
_CAMEL_WORD = lazy_regex(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_DROP = lazy_regex(
    rb"(?i)ignore|disregard|forget|overrule|discard|disobey|unlearn|neglect|dismiss|abandon"
)
_EARLIER_AT = lazy_regex(rf"(?i)(?=((?:{_EARLIER}|above|your|developer|safety|all)))".encode())
# "dismissInstallPrompt", "ignorePriorityOrders": longer words contain these.
_IN_WORDS = lazy_regex(rb"(?i)all|old(?:er)?|past|prior|former|initial|first")


def _orders_reader(text: bytes) -> Outcome:
    """FAILS if only a thing is dropped, or others are addressed; run with the surroundings.

    A match that occurs more than once orders something if one of its occurrences does.
    """
    match, _, around = text.partition(AROUND)
    places = [at.start() for at in islice(re.finditer(re.escape(match), around), MOST_PLACES)]
    return not 0 < len(places) < MOST_PLACES or not all(
        _drops_other(around, at, at + len(match)) for at in places
    )


def _drops_other(data: bytes, start: int, end: int) -> bool:
    """True if the order in a range drops a thing, or is addressed to others."""
    ordered = data[start:end].rpartition(b'"')[2]  # without the key of JSON
    if len(ordered) > BEFORE_BYTES:
        return False
    if _is_in_camel_words(ordered):
        return True
    after = data[end : end + BEFORE_BYTES] + b"\0" * (end + BEFORE_BYTES < len(data))
    is_camel = b" " not in ordered and _CAMEL.search(ordered) is not None
    thing = (_NAMED_THING if is_camel else _THING).match(_HUMP.sub(b" ", ordered + b"\0" + after))
    if thing and (is_camel or _NAME.fullmatch(data) or not _SHOWING.search(ordered)):
        return True
    before = data[max(0, start - BEFORE_BYTES) : start]
    before = before[len(opening[0]) if (opening := _SENTENCE_START.match(before)) else 0 :]
    return _OTHERS.match(before + ordered + b"\0" + after) is not None


def _is_in_camel_words(name: bytes) -> bool:
    """True if words such as `all` are only parts of longer words in a camel-case name."""
    words = list(_CAMEL_WORD.finditer(name))
    if len(words) < FEW_CAMEL_WORDS or not _DROP.fullmatch(words[0][0]):
        return False
    spans = [word.span() for word in words if len(word[0]) > 1]
    return len(spans) == len(words) and all(
        _IN_WORDS.fullmatch(part[1])
        and any(
            low <= part.start(1) and part.end(1) <= high and high - low > len(part[1]) + 1
            for low, high in spans
        )
        for part in _EARLIER_AT.finditer(name)
    )


CHECKS: Checks = {
    "around-orders-reader": _orders_reader,
    "not-clause": lambda text: _CLAUSE.fullmatch(text) is None,
}
