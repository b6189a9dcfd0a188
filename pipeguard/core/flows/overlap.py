"""What two texts share: values, words in a row, in any spelling. Knows texts, and no tool.

One text came from a tool, the other goes to one. Values are looked for as they are, in parts, in
other case and with signs between; passages by their letters and digits alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple
from unicodedata import normalize

from pipeguard.core.checks.registry import entropy
from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.text import decoders
from pipeguard.core.text.budgets import DecodingBudget
from pipeguard.core.text.document import MessageText

TOKEN_CHARS = 12  # shorter ones stand in two places by chance
NAME_CHARS = 8  # of what is named to a model that is told what to do with it
SECRET_ENTROPY = 3.0  # bits a character
PASSAGE_CHARS = 14  # letters and digits in a row that stand in both: shorter ones do by chance
PASSAGE_STEP = 3  # between two places where the beginning of one is looked for,
MOST_PLACES = 128  # of which there are so many
ENOUGH_CHARS = 512  # that both texts have: more are not counted
FEW_WORDS = 4  # in a row, where one text tells a model what to do
MOST_SECRETS = 200  # looked for of one text
SECRET_TEXT = 2**18  # characters of it that are looked through for them
LONG_CHARS = 20
PIECE_CHARS = 8  # of a value that is divided
MOST_PARTS = 64  # that are decoded once more

# By a sign that must stand in a text; and in words that are long.
_SIGNED = {
    b"%": "percent",
    b"\\": "escapes",
    b"&": "entities",
    b"=": "quoted-printable",
}
_RUNS = ("base64", "hex", "long-run", "base32", "compressed")
_SPELLINGS = ("reversed", "rot13")
_LONG = re.compile(rb"\S{12,}")
_BYTES = re.compile(rb"(?:[0-9A-Fa-f]{2}[ :,-]{1,2}){7}")


def readings(text: bytes) -> list[str]:
    """The text as it is, and all that is encoded in it, two deep."""
    budget = DecodingBudget(len(text))
    first = _decoded(text, budget)
    inner = [part for one in first[:MOST_PARTS] for part in _decoded(one, budget)]
    found = [text, *first, *_read(text, _SPELLINGS, budget), *inner]
    for between in (_BETWEEN_PIECES, _BETWEEN_LABELS):
        values = b"".join(between.split(text))
        if len(values) != len(text):
            found += [values, *_read(values, _RUNS[:3], budget)]
    found += [_of_codes(match[0]) for match in _CODES.finditer(text)]
    return [one.decode("utf-8", "ignore") for one in dict.fromkeys(found)]


def _decoded(text: bytes, budget: DecodingBudget) -> list[bytes]:
    signed = [name for sign, name in _SIGNED.items() if sign in text]
    found = _read(text, signed, budget) if signed else []
    if _BYTES.search(text):
        found += _read(text, ("separated-hex",), budget)
    long = _LONG.findall(text)
    return found + _read(b"\n".join(long), _RUNS, budget) if long else found


def _read(text: bytes, names: Sequence[str], budget: DecodingBudget) -> list[bytes]:
    return [
        part.data
        for part in decoders.decode(text, {name: [(0, len(text))] for name in names}, budget)
    ]


def _of_codes(text: bytes) -> bytes:
    """The letters that a row of decimal numbers stands for."""
    return bytes(number for number in map(int, re.findall(rb"\d+", text)) if number < BYTES)


BYTES = 256
_BETWEEN_PIECES = re.compile(rb"[\s\"',:]+")
_BETWEEN_LABELS = re.compile(rb"(?<=[0-9a-zA-Z])[.](?=[0-9a-zA-Z])")
_CODES = re.compile(rb"(?:\b\d{2,3}\b[ ,;:-]{1,2}){11,}\d{2,3}\b")


def squeezed(text: str) -> str:
    """Letters and digits alone, in small letters."""
    return _BETWEEN.sub("", text).lower()


_BETWEEN = re.compile(r"[^A-Za-z0-9]+")
_TOKEN = re.compile(rf"[A-Za-z0-9_@.+/=-]{{{TOKEN_CHARS},256}}")
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARS},256}}")
_NAME = re.compile(rf"[A-Za-z0-9_@.+/=-]{{{NAME_CHARS},256}}")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]+")
_PHONE = re.compile(r"\+(?:[ ()./-]?\d){8,15}\b")  # ITU-T E.123; without the `+`, dates look so
_NAMED = re.compile(
    r"(?:pass(?:word|wd|phrase)?|secret|token|key|credentials?|dsn)[\w-]{0,20}[\"']?"
    r"\s?([=:]|\bis\b)\s?[\"']?([^\s\"',;<>]{8,200})",
    re.IGNORECASE,
)


def tokens(text: str) -> Iterator[str]:
    """Runs of letters and digits, with and without what may stand in a value or before it.

    Telephone numbers come whole.
    """
    yield from _PHONE.findall(text)
    for token in _TOKEN.findall(text):
        yield token
        _, equals, value = token.partition("=")
        if equals and len(value) >= TOKEN_CHARS:
            yield value
        yield from (part for part in _PLAIN.findall(token) if part != token)


def names(text: str) -> Iterator[str]:
    """What a call names: an account, an address, a branch; no plain words."""
    for name in _NAME.findall(text):
        bare = name.strip(".-/=")
        if len(bare) >= NAME_CHARS and not bare.isalpha():
            yield bare


def words(text: str) -> list[str]:
    """The longer words of a text, in small letters."""
    return list(dict.fromkeys(re.findall(r"[a-z_]{6,40}", text.lower())))[:64]


def people(text: str) -> set[str]:
    """What looks like a person's name: words that begin with capitals, in small letters."""
    return {name.lower() for name in _PERSON.findall(text)}


_PERSON = re.compile(r"\b[^\W\d_a-z][^\W\d_A-Z]+(?: [^\W\d_a-z][^\W\d_A-Z]+){1,2}\b")


def piece(text: str) -> str:
    """The longest run of signs that values are written with, which may be a part of one."""
    return max(_PIECE.findall(text), key=len, default="")


_PIECE = re.compile(r"[A-Za-z0-9_%+-]+")


def mailboxes(text: str) -> set[str]:
    """The mail addresses in a text."""
    return set(_MAILBOX.findall(text))


_MAILBOX = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")


def is_telling(token: str) -> bool:
    """True for what two texts do not share by chance."""
    return any(map(str.isdigit, token)) or "@" in token


def is_secret(token: str) -> bool:
    """True for what is made to be guessed by nobody: no id, no digest, no path, no address."""
    if "/" in token or "@" in token or _UUID.fullmatch(token) or _HEX.fullmatch(token):
        return False
    parts = _PARTS.findall(token)
    if len(parts) > 1 and all(part.isdigit() or _PLAIN_WORD.match(part) for part in parts):
        return False  # words and numbers, as `production-eu-west-1` has
    return entropy(token.encode()) >= SECRET_ENTROPY and not token.isdigit()


def is_random(token: str) -> bool:
    """True for a secret that is longer than ids are, where nothing else tells that it is one."""
    return len(token) >= LONG_CHARS and _MIXED.search(token) is not None and is_secret(token)


_PARTS = re.compile(r"[A-Za-z0-9]+")
_PLAIN_WORD = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)\Z")


def named(text: str) -> list[str]:
    """The values that a text calls a password, a token or the like."""
    return [value for sign, value in _NAMED.findall(text) if sign == "=" or not _WORD.match(value)]


# A plain word says what a token is for, and is none; nor is a variable's name.
_WORD = re.compile(r"(?:[A-Za-z]?[a-z-]*|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)[.!?]?\Z")


def in_pieces(bare: str, whole: str) -> bool:
    """True where most of a value stands in a text, in pieces of some letters each."""
    if len(bare) < 2 * PIECE_CHARS:
        return False
    starts = [*range(0, len(bare) - PIECE_CHARS, PIECE_CHARS), len(bare) - PIECE_CHARS]
    found = sum(bare[at : at + PIECE_CHARS] in whole for at in starts)
    return found >= 2 and 5 * found >= 3 * len(starts)


def secrets(text: str, looks: Callable[[str], bool]) -> dict[str, str]:
    """What looks like a secret in a text, by its letters and digits alone."""
    found: dict[str, str] = {}
    for token in tokens(text[:SECRET_TEXT]):
        if len(found) >= MOST_SECRETS:
            break
        if "=" in token.rstrip("=") or _UUID.search(token):
            continue
        if _MIXED.search(token) and looks(token):
            found[squeezed(token)] = token
    return {bare: token for bare, token in found.items() if len(bare) >= TOKEN_CHARS}


# Digits among letters: a word that only ends in a number is a name.
_MIXED = re.compile(r"[A-Za-z][0-9]+[A-Za-z]|[0-9][A-Za-z]+[0-9]|[a-z][A-Z]+[a-z]+[A-Z0-9]")


def shingles(text: str) -> Iterable[str]:
    """Rows of a few words, one every few words."""
    words = text.split()
    return (
        " ".join(words[at : at + FEW_WORDS])
        for at in range(0, len(words) - FEW_WORDS + 1, FEW_WORDS // 2)
    )


def values(value: JsonValue) -> frozenset[str]:
    """The short values in a JSON value: ids, names, addresses; no plain words, and no amounts."""
    if isinstance(value, dict):
        named = (item for key, item in value.items() if not _AMOUNT.search(key))
        return _NOTHING.union(*map(values, named))
    if isinstance(value, list):
        return _NOTHING.union(*map(values, value))
    text = str(value).strip().lower()
    return frozenset({text}) if _VALUE.fullmatch(text) else _NOTHING


_VALUE = re.compile(r"(?=.{0,99}[0-9@#/])\S{3,100}")
_AMOUNT = re.compile(
    r"limit|page|count|offset|size|max|min|top|hours|days|lines|from|until|since|start|end|date|year"
    r"|month|week|amount|price|number_of|\An\Z|format|type|version|model|language|timezone",
    re.IGNORECASE,
)
_NOTHING: frozenset[str] = frozenset()


MARK_CHARS = (6000, 2000)  # of a text, at its beginning and at its end
# What is said where a text is not for everybody.
_MARKED = re.compile(
    r"\b(?:confidential|embargo(?:ed)?|classified|(?:top|trade) secret|proprietary|off the record"
    r"|in confidence|need[- ]to[- ]know|internal use|eyes only|must not leave"
    r"|visibility\W{1,4}private"
    r"|restricted (?:to|access)|private (?:number|address|matter)"
    r"|(?:strictly|keep (?:this|it|that)|stays?|kept) (?:private|secret|internal|quiet|between)"
    r"|privileged|under seal|not a word|never write|meant for (?:you|your company) only"
    r"|(?:do not|don't|must not|may not|never|not to|not) (?:be )?(?:disclos|publish|shar(?:e|ing)"
    r"|pass(?:ed)? (?:it )?on|forward(?:ed)?\b|distribut|circulat|leak|spread|known\b|tell\b|told\b"
    r"|mention|writ(?:e|ten) (?:his|her|their|the) name)"
    r"|not for (?:distribution|publication|release|sharing|the public)|nobody (?:may|must|should))",
    re.IGNORECASE,
)


# What a company has below each of its mails says nothing of any one of them.
_DISCLAIMER = re.compile(
    r"\b(?:this|the|any) (?:e-?mail|message|communication|transmission|information contained)\b"
    r"[^.\n]{0,160}\b(?:confidential|privileged|intended)\b.{0,700}",
    re.IGNORECASE | re.DOTALL,
)


def is_marked(text: str) -> bool:
    """True where a text says, at its beginning or end, that it is not for everybody."""
    begin, end = MARK_CHARS
    read = f"{text[:begin]}\n{text[begin:][-end:]}"
    return _MARKED.search(_DISCLAIMER.sub(" ", read)) is not None


def tells_of_people(text: str) -> bool:
    """True where a text begins with a telephone number, an account or several mail addresses."""
    begin = text[: MARK_CHARS[0]]
    is_one = _PHONE.search(begin) or _ACCOUNT.search(begin)
    return is_one is not None or len(mailboxes(begin)) > 1


_ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2} ?(?:[A-Z0-9]{4} ?){3,7}[A-Z0-9]{0,3}\b")  # ISO 13616


def is_credential(name: str) -> bool:
    """Whether an argument is made for a credential, by its name."""
    return _CREDENTIAL.fullmatch(name) is not None


_CREDENTIAL = re.compile(
    r"(?:\w{1,30}[_-])?(?:password|passwd|passphrase|pwd|secret|token|api_?key|apikey|dsn|authorization|"
    r"auth|credentials?|private_key|x-api-key|connection_string|passwort|passcode|kennwort|geheimnis"
    r"|mot_?de_?passe|mdp|contraseña|contrasena|clave|senha|wachtwoord|hasło|haslo|lösenord|пароль"
    r"|密码|パスワード|비밀번호)",
    re.IGNORECASE,
)


def is_outside(value: str) -> bool:
    """True for a value of a call that names an address, or says that all may see it."""
    return "public" in value or value.startswith(("http://", "https://"))


def addresses(text: str) -> list[str]:
    """The web addresses in a text."""
    return _URL.findall(text)


def addresses_of(value: JsonValue) -> list[str]:
    """Those in all strings of a JSON value."""
    return addresses(MessageText(value, keyed=False).data.decode("utf-8", "ignore"))


def digests(text: str) -> list[str]:
    """The digests in a text, of the usual lengths: who checks one repeats it."""
    return _DIGEST.findall(text)


# RFC 1321, FIPS 180-4.
_DIGEST = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})\b", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\"'<>)\]]{1,8192}", re.IGNORECASE)


class Overlap(NamedTuple):
    """What two texts have in common.

    Attributes:
        chars: letters and digits in passages that both have; no more than enough.
        longest: of these, in one passage.
    """

    chars: int
    longest: int


def letters(text: str) -> str:
    """Letters and digits of any script alone, in small letters and their usual form."""
    text = text if text.isascii() else normalize("NFKC", text)
    return _NO_LETTER.sub("", text).lower()


_NO_LETTER = re.compile(r"[\W_]+")


def shared(said: str, source: str, known: str) -> Overlap:
    """What of a text stands in another one, in passages.

    Args:
        said: the text, by its letters alone, as both others.
        source: where it may come from.
        known: where it came from if it stands there.
    """
    step = _step(said)
    chars = longest = at = behind = 0
    while at + PASSAGE_CHARS <= len(said) and chars < ENOUGH_CHARS:
        place = source.find(said[at : at + PASSAGE_CHARS])
        if place < 0:
            at += step
            continue
        start = at - alike(said[behind:at][::-1], source[max(0, place - at + behind) : place][::-1])
        most = slice(ENOUGH_CHARS)
        end = at + alike(said[at:][most], source[place:][most])
        if said[start:end] not in known:
            chars, longest = chars + end - start, max(longest, end - start)
        at = behind = end
    return Overlap(chars, longest)


def places(said: str) -> int:
    """Where the beginning of a passage is looked for, at most."""
    return max(0, len(said) - PASSAGE_CHARS + 1) // _step(said) + 1


def _step(said: str) -> int:
    return max(PASSAGE_STEP, len(said) // MOST_PLACES)


def alike(one: str, other: str) -> int:
    """How many letters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    differing = (index for index, (first, second) in pairs if first != second)
    return next(differing, min(len(one), len(other)))


# Whoever writes for a model speaks to it: `AI agents: …`, `Dear assistant, …`, `agents must …`.
_ADDRESSED = re.compile(
    r"(?<![\w-])(?:if you(?:'re| are) (?:an? )?(?:ai|llm|bot|agent|assistant|(?:language )?model)\b"
    r"|@(?:ais?|agents?|assistants?|bots?|copilot)\b"
    r"|(?:note|instruction|message|hint|task)s? (?:for|to) (?:the |all |an? )?(?:ais?|llms?|agents?"
    r"|assistants?|bots?|robots?|automations?|models?)\b"
    r"|for (?:automated |ai )?(?:assistants|agents|bots|models) only"
    r"|(?:assistant|agent|bot|ai|model) (?:reads|sees|handles|processes|summari[sz]es)"
    r" (?:this|it)\b"
    r"|(?:ais?|llms?|agents?|assistants?|chatbots?|bots?|robots?|copilots?|automations?"
    r"|(?:language )?models?|automat(?:ed|ic) \w+|(?:processing|reading|parsing|reviewing) \w+)"
    r"(?: (?:agents?|assistants?|models?|visitors?|shoppers?|readers?|users?|systems?|bots?"
    r"|tools?|software|programs?))?"
    r"(?: (?:reading|visiting|seeing|handling|processing)(?: [^.,:;\n]{1,40})?"
    r"| (?:that|who|which|with) [^.,:;\n]{1,50}| (?:reads?|visits?|sees?)(?: [^.,:;\n]{1,40})?)?"
    r"(?: (?:in|on|at|of|from) \w+)?"
    r"(?:\s?[,:]|\s(?:must|should|shall|have to|has to|needs? to|are to|is to|please)\b))",
    re.IGNORECASE,
)


def addressed(text: str) -> str:
    """The part of a text from where it speaks to a model on; empty where it does to none."""
    found = _ADDRESSED.search(text)
    return text[found.start() : found.start() + ADDRESSED_CHARS] if found else ""


ADDRESSED_CHARS = 4000
