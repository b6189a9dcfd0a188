"""Values of a text that are secrets, by their looks or by their names in the text.

One-time links and codes are among them: whoever opens such a link, or types such a code, acts as
the person it was sent to.
"""

import re
from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice

from pipeguard.detect.checks import credential_names, placeholders, randomness
from pipeguard.detect.flows.overlap import squeeze
from pipeguard.detect.flows.text_values import TOKEN_CHARS, decode_percent, find_tokens, unescape
from pipeguard.detect.matching.confirm import as_ascii, cached_finder, find_signed, occurs
from pipeguard.detect.words import credentials, word_set
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import name_words

SECRET_ENTROPY = 3.0  # bits a character
LONG_CHARS = 20
MOST_SECRETS = 200  # of one text that are looked up
SECRET_TEXT = 2**18  # characters of it that are searched for them
LINK_TEXT = 2**20  # and for links
MOST_TOKENS = 1000  # of links

_UUID = lazy_regex(r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_HEX = lazy_regex(r"[0-9a-fA-F]+")
_PARTS = lazy_regex(r"[A-Za-z0-9]+")
_PLAIN_WORD = lazy_regex(r"(?:[A-Z]?[a-z]+|[A-Z]+)\Z")
# Digits among letters: a word that only ends in a number is a name.
_MIXED = lazy_regex(r"[A-Za-z][0-9]+[A-Za-z]|[0-9][A-Za-z]+[0-9]|[a-z][A-Z]+[a-z]+[A-Z0-9]")
_NAMES_SECRET = rf"(?:{credentials.alternatives('NAMED')})[\w-]{{0,20}}[\"']?\s?"
# The token of a next page is none.
_NAMED = lazy_regex(
    rf"(?<!page)(?<!page_)(?<!page-)(?<!continuation)(?<!continuation_){_NAMES_SECRET}"
    r"([=:]|\bis\b)\s?[\"']?([^\s\"',;<>]{8,200})",
    re.IGNORECASE,
)
# A plain word gives a token's purpose, and is not one; nor is a variable's name.
_WORD = lazy_regex(r"(?:[A-Za-z]?[a-z-]*|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)[.!?]?\Z")


def is_secret(token: str) -> bool:
    """True for a dense token other than ids, digests, paths, addresses and words."""
    if "/" in token or "@" in token or _UUID.fullmatch(token) or _HEX.fullmatch(token):
        return False
    parts = _PARTS.findall(token)
    if len(parts) > 1 and all(part.isdigit() or _PLAIN_WORD.match(part) for part in parts):
        return False  # words and numbers, as in `production-eu-west-1`
    if token.isdigit() or randomness.encodes_words(token.encode()):
        return False
    return placeholders.entropy(token.encode()) >= SECRET_ENTROPY


def is_random(token: str) -> bool:
    """True for a secret that is longer than ids are: only its length identifies it."""
    return len(token) >= LONG_CHARS and _MIXED.search(token) is not None and is_secret(token)


def find_named_secrets(text: str) -> list[str]:
    """The values that a text calls a password, a token or the like."""
    found = find_signed(_NAMED, f"{_NAMES_SECRET}(?:[=:]|\\bis\\b)", text)
    return [each[2] for each in found if each[1] == "=" or not _WORD.match(each[2])]


def key_by_letters(values: Iterable[str]) -> dict[str, str]:
    """Values with a digit that are long enough to be recognised by their letters and digits."""
    bare = {squeeze(value): value for value in values}
    return {
        each: value
        for each, value in bare.items()
        if len(each) >= TOKEN_CHARS and not (each.isalpha() or each.isdigit())
    }


def find_secrets(text: str, looks: Callable[[str], bool]) -> dict[str, str]:
    """The values of a text that look like a secret, by only their letters and digits.

    Args:
        text: to be read.
        looks: True if a token looks like a secret.
    """
    by_letters: dict[str, str] = {}
    least = LONG_CHARS if looks is is_random else TOKEN_CHARS
    for token in find_tokens(text[:SECRET_TEXT], least):
        if len(by_letters) >= MOST_SECRETS:
            break
        is_one = _MIXED.search(token) and "=" not in token.rstrip("=") and looks(token)
        if is_one and not _UUID.search(token):
            by_letters[squeeze(token)] = token
    return {bare: token for bare, token in by_letters.items() if len(bare) >= TOKEN_CHARS}


# --- links that work once ---------------------------------------------------------------

BESIDE_CHARS = 160  # before a link, or on its button, that give its purpose
LEAST_HEX = 20  # digits of a token

_LINK = lazy_regex(
    r"https?:(?:\\{0,3}/){2}[^\s\"'<>/?#\\@]{1,255}(\\{0,3}[/?#][^\s\"'<>`]{8,2048})", re.IGNORECASE
)
_PART = lazy_regex(r"(?:[/?&;#]|\\{1,2}u0026)([\w.-]{1,40})=(?!=)([^\s/?&;#\\]+)|/([^\s/?&;#=\\]+)")
_TOKEN = lazy_regex(r"(?a)[\w.~%+-]{12,}={0,2}")
_VALUE = lazy_regex(r"(?<!type)(?<!mode)(?<!action)=[^\s&;#\\]+")
_BUTTON = lazy_regex(r"[\"'][^<>]{0,200}>[^<>]{0,80}")
TELLING_CHARS, TOKEN_END = 80, 500  # before such a token, and after its first 16 characters
_TELLS = r"token(?: is)?[\s:\"'*`>]{1,8}"
_TOLD = lazy_regex(  # without a link
    r"\b(?:your|this|the following) ((?:[\w-]{1,20} ){1,3})"
    rf"{_TELLS}([\w.~+-]{{16,512}})(?<!\.)",
    re.IGNORECASE | re.ASCII,
)
_ONE_TIME = (
    rf"{credentials.alternatives('ONE_TIME')}|\botp\b|(?:sign|log)[-_ ]?(?:in|up)\b|choose a new"
)
_ADMITS = lazy_regex(_ONE_TIME)
_ENDS = lazy_regex(rf"{credentials.alternatives('UNSUBSCRIBE')}|darse de baja")
_ABOUT = lazy_regex(
    rf"{credentials.alternatives('ONE_TIME_ABOUT')}|mot de passe|(?:conta|link)\b"
    "|(?:log|sign)[-_ ]?in"
)
# Other credentials in the name of a parameter, besides those of settings.
_CREDENTIAL_WORDS = word_set("auth pass seed sig signature signed session sessionid sid amz goog")
_PURPOSES = word_set("password email link oob otp url")  # of a token, in the name of a parameter
_CODE_NAMES = word_set("code otp pin")


class _OneTimeLink(NamedTuple):
    """A link in a text.

    Attributes:
        start: of its first character.
        end: after its last character.
        tokens: that open it, each after its span, or the span of the address that has it.
        admits: True if it lets somebody in; False if it ends a subscription.
        is_bare: True if it has no other credential.
    """

    start: int
    end: int
    tokens: tuple[tuple[int, int, str], ...]
    admits: bool
    is_bare: bool


def find_one_time_token(text: str, start: int, end: int, begin: str = "") -> str:
    """The token of a one-time link that a part of a text is, covers or begins in; or empty.

    Empty also if the link has other credentials.

    Args:
        text: with links.
        start: of the part.
        end: of it.
        begin: of the part in another reading, if it is from one: its place is then uncertain.
    """
    for link in _find_one_time_links(text):
        is_within = link.start <= start and end <= link.end
        is_near = start < link.end and link.start < end and text.startswith(begin, link.start)
        for first, last, token in link.tokens if link.is_bare else ():
            if (begin and (is_near or token.startswith(begin))) or (
                not begin and is_within and start < last and first < end
            ):
                return token
    return ""


@lru_cache(2)  # rules may have many matches in one text
def _find_one_time_links(text: str) -> tuple[_OneTimeLink, ...]:
    links = []
    last = 0
    for match in find_signed(_LINK, "https?:", text[:LINK_TEXT]):
        before = text[max(last, match.start() - BESIDE_CHARS) : match.start()]
        button = _BUTTON.match(text, match.end())
        last = match.end()
        parts = [*_PART.finditer(text, *match.span(1))]
        tokens = tuple(_list_link_tokens(parts))
        if tokens:
            said = unescape(f"{before} {button[0] if button else ''}").lower()
            # The names of path and parameters, and those of an address inside it.
            inside = decode_percent(match[1]) if _has_address(match[1]) else ""
            address = _VALUE.sub("", f"{match[1]} {inside.rpartition('://')[2]}").lower()
            address += f" {said if _ABOUT.search(said) else ''}"
            admits, ends = _ADMITS.search(address), _ENDS.search(address)
            if admits or ends:
                is_bare = not any(map(_is_credential, parts))
                links.append(_OneTimeLink(*match.span(), tokens, admits is not None, is_bare))
    sign = rf"{_TELLS}[\w.~+-]{{16}}"
    tells = text[:LINK_TEXT]
    for told in find_signed(_TOLD, sign, tells, before=TELLING_CHARS, after=TOKEN_END):
        token = *told.span(2), told[2]
        if _ADMITS.search(told[1].lower()) and _is_dense(told[2]):  # it is for one time
            links.append(_OneTimeLink(*told.span(2), (token,), admits=True, is_bare=True))
    return tuple(links)


def _has_address(value: str) -> bool:
    return "%3A%2F%2F" in value.upper()


def _list_link_tokens(parts: Iterable[re.Match[str]]) -> Iterator[tuple[int, int, str]]:
    for part in parts:
        name = part[1]
        value = (part[2] or part[3]).rstrip(".,;:!?)]}*")
        start = part.start(2 if name else 3)
        if name and not _is_token_name(name):
            inside = _PART.finditer(decode_percent(value)) if _has_address(value) else ()
            tokens = [token for *_, token in _list_link_tokens(inside)]
        else:
            is_named_code = name and not _CODE_NAMES.isdisjoint(name_words(name))
            tokens = [value] * bool(_is_dense(value) or (is_named_code and _CODE.fullmatch(value)))
        yield from ((start, start + len(value), token) for token in tokens)


def _is_dense(value: str) -> bool:
    if _HEX.fullmatch(value):
        return len(value) >= LEAST_HEX
    is_mixed = _TOKEN.fullmatch(value) and _MIXED.search(value)
    return bool(is_mixed) and placeholders.entropy(value.encode()) >= SECRET_ENTROPY


def _is_token_name(name: str) -> bool:
    """True for a parameter for the token of a link, such as `reset_password_token` or `t`."""
    *purpose, last = name_words(name) or [""]
    is_known = _PURPOSES.issuperset(purpose) or _ADMITS.search("-".join(purpose))
    return last in credentials.ONE_TIME_NAMES and bool(is_known)


def _is_credential(part: re.Match[str]) -> bool:
    """True for a parameter for a credential other than the token of a link."""
    name = part[1]
    if not name or _is_token_name(name):
        return False
    if _has_address(part[2]):
        return any(map(_is_credential, _PART.finditer(decode_percent(part[2]))))
    return credential_names.is_secret_setting(name) or not _CREDENTIAL_WORDS.isdisjoint(
        name_words(name)
    )


# --- codes ------------------------------------------------------------------------------

KIND_CHARS = 32  # next to a code, that give its purpose

_CODE = lazy_regex(
    r"\d{3}[- ]\d{3,4}|\d{5,8}|(?=[A-Z]{0,9}[0-9])[A-Z0-9]{6,10}"
    r"|(?=[A-Za-z-]{0,40}[0-9])[A-Za-z0-9]{3,6}(?:-[A-Za-z0-9]{3,6}){1,6}"
)
_CALLED = lazy_regex(
    rf"{credentials.alternatives('CODES')}|\bpin|\bm?tan\b|\bmã|usage unique"
    r"|(?:one[- ]time|single-use|temporary) password"
)
_KIND = lazy_regex(
    rf"{_ONE_TIME}|{credentials.alternatives('CODE_KINDS')}|\bm?tan\b|acces\b"
    r"|(?:enter|use|type) (?:this|the)\b|\byour \w{1,20} code"
)
_OTHER_KIND = lazy_regex(rf"{credentials.alternatives('OTHER_CODES')}|\b(?:book|order)")
_CLAUSE_END = lazy_regex(r"[.;,!?()]\s")
_IS = r"(?:is|ist|lautet|est|es|e|è|é|er|är|on|je|jest|este|là|to|это|είναι|هو|は|是|为|為|는|은)"
_FOR = lazy_regex(r"\s(?:to|um|pour|para|per|om)\s")
_BETWEEN = r"(?:[^0-9<]|(?<![0-9A-Za-z])\d{1,2}(?!\w)){0,40}"  # `(valid for 10 minutes)`
_ALONE = (
    r"(?:(?<![A-Za-z0-9_.-])|(?<=\\[nrt]))(?:[A-Z]-)?"  # `G-482913`
    rf"({_CODE.pattern})(?![A-Za-z0-9_]|[.-][A-Za-z0-9])"
)
_AFTER = lazy_regex(rf"((?:{_BETWEEN}<[^<>]{{0,120}}>){{0,6}}{_BETWEEN}?){_ALONE}")
_NEAR = lazy_regex(r"[^0-9<]{0,48}[0-9<]")  # a digit, or a tag before one
_LEADS_TO = lazy_regex(rf"(?:[.:：=>]|\\[nrt]|\b{_IS}|[は是为為는은])\Z")
CODE_CHARS = 50  # of a code with its `G-`
SAID_CHARS = 60  # after it, that identify it
_IS_SAID = rf"(?:<[^<>]{{0,40}}>)? ?(?:\b{_IS}|[は是]) "
_LEADING = rf"[0-9][A-Za-z-]{{0,{CODE_CHARS}}}{_IS_SAID}"  # the end of a code, and a verb
_BEFORE = lazy_regex(rf"{_ALONE}{_IS_SAID[:-1]}( [^0-9<.;!?]{{0,{SAID_CHARS}}})")


def find_one_time_secrets(text: str) -> list[str]:
    """The codes in a text that work once, and the tokens of links that let somebody in."""
    links = (link for link in _find_one_time_links(text) if link.admits)
    tokens = [token for link in links for *_, token in link.tokens][:MOST_TOKENS]
    return list(dict.fromkeys([*tokens, *islice(_find_codes(text[:SECRET_TEXT]), MOST_SECRETS)]))


def _find_codes(text: str) -> Iterator[str]:
    small = text.replace("İ", "I").lower()  # of the same length
    data = as_ascii(small)
    if data is None:
        all_called = [match.span() for match in _CALLED.finditer(small)]
    else:
        found = cached_finder(_CALLED.pattern).finditer(data, 0, len(data))
        all_called = [match.span for match in found]
    leading = find_signed(_BEFORE, _LEADING, text, before=CODE_CHARS, after=SAID_CHARS)
    if not all_called:
        return
    for match in leading:
        said = match[2].lower()
        if _CALLED.search(said) and _KIND.search(said):
            yield match[1]
    for start, last in all_called:
        code = _NEAR.match(text, last) and _AFTER.match(text, last)
        lead = code[1].rstrip(" \n\"'*_`([") if code else "-"
        if code is None or (lead and not _LEADS_TO.search(lead[-12:])):
            continue
        before = small[max(0, start - KIND_CHARS) : last]
        after = small[code.end() : code.end() + KIND_CHARS] if _FOR.match(text, code.end()) else ""
        ends = (_CLAUSE_END.split(end, maxsplit=1)[0] for end in (lead[:KIND_CHARS].lower(), after))
        clauses = unescape("\n".join((_CLAUSE_END.split(before)[-1], *ends)))
        if _KIND.search(clauses) and not _OTHER_KIND.search(before):
            yield code[2]


# --- keys that are cut ------------------------------------------------------------------

CUT_CHARS = 2048  # of a string's end that are read for the beginning of a key, and of such a key
LEAST_PIECE = 6  # characters that continue a key
FEW_TEXTS = 8  # whose ends are read one by one
MOST_ENDS = 2  # of strings of a call that a key may go on with

# What keys begin with, where they are cut over several calls.
_BEGINNING = lazy_regex(
    r"(?<![A-Za-z0-9])(?:gh[opsru]_|github_pat_|sk-[a-z]|[sr]k_live_|xox[abeprs]-|glpat-|npm_|AIza"
    r"|A[KS]IA|SG\.|hf_|dop_v1_|pypi-|shpat_|gsk_|eyJ[\w-]{8}|[0-9]{8,10}:AA"
    r"|(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis|amqps?)://[\w-]{1,40}:|AGE-SECRET-KEY-)"
)
_BEGINS_KEY = lazy_regex(rf"{_BEGINNING.pattern}(?=.{{4}})")
# From right to left, so that long texts are read once.
_LAST_WORD = lazy_regex(r"[^\s\"'<>,;]+")
_LAST_VALUE = lazy_regex(r"=*[A-Za-z0-9_+/~.@:-]+")


def find_begun_key(texts: Sequence[str]) -> str:
    """The beginning of a key at the end of one of some texts; or empty."""
    if len(texts) > FEW_TEXTS:
        ends = "\n".join([text[-CUT_CHARS:] for text in texts])
        if ends.isascii() and not occurs(_BEGINNING, ends):
            return ""
    for text in texts:
        word = _match_last(_LAST_WORD, text)
        if key := _BEGINS_KEY.search(word):
            return word[key.start() :]
    return ""


def list_last_values(texts: Iterable[str]) -> list[str]:
    """The longest last values of texts, with which a key may continue."""
    ends = (_match_last(_LAST_VALUE, text) for text in texts)
    long = [end for end in ends if len(end) >= LEAST_PIECE and "//" not in end]
    return sorted(long, key=len, reverse=True)[:MOST_ENDS]


def _match_last(sign: re.Pattern[str], text: str) -> str:
    match = sign.match(text[-CUT_CHARS:][::-1])
    return match[0][::-1] if match else ""


def decode_digits(word: str) -> str:
    """The digits that a word is in base64 or hexadecimal; or empty."""
    for decode, data in ((a2b_base64, f"{word}=="), (unhexlify, word)):
        with suppress(ValueError):
            found = decode(data)
            if found.isdigit():
                return found.decode()
    return ""
