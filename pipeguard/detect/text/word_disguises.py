"""Words in disguise: reversed, in ROT13, with digits for letters, spelled, or as one long name.

Reversed or in ROT13 any text differs from itself, so a text is only read that way if it contains a
watched word in that disguise. Knows letters and lists of words; rules know what the words mean.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import chain

from pipeguard.detect.text.encoding import AROUND_BYTES, Decoded, Decoder, Encoding, mark, runs
from pipeguard.detect.words import disguises
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.folding import Range, extend

MIN_PREFIX = 4  # characters: shorter ones are common in noise
_LEET = {
    "a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7+", "b": "8", "l": "1|", "g": "9",
}  # fmt: skip
MIN_SECRET = 16  # letters and digits
FEW_PIECES = 3  # at least, with the beginning, before the last piece of a key
MOST_OF_KEY = 1024  # bytes of a key in pieces
LEETABLE = 6  # letters at least, of a word that is watched in leetspeak
MIN_NAME = 20  # bytes of a name that is read as a sentence
FEW_JOINS = 4  # of its separators
MAX_SEPARATOR = 24  # bytes between two letters, with other characters of the text among them


def _translating(signs: bytes, letters: bytes) -> Callable[[bytes], bytes]:
    """Make a reader that replaces each of some bytes."""
    table = bytes.maketrans(signs, letters)
    return lambda text: text.translate(table)


def _without_separators(run: bytes) -> bytes:
    """Join letters that a repeated separator keeps apart.

    Text next to the separator is kept: `k.-.a` is `k-a`. Separators that vary are removed
    entirely.
    """
    between = _SEPARATOR.findall(run)
    separator, count = Counter(between).most_common(1)[0]
    if len(separator) > 1 and run.translate(None, _NO_LETTERS).isdigit():
        return run  # a table of numbers
    if count == len(between):
        return run.replace(separator, b"")
    if 2 * count < len(between):
        return run.translate(None, _NO_LETTERS)
    beside = {text: _beside(separator, text) for text in set(between)}
    letters = zip(_SEPARATOR.split(run), [*map(beside.__getitem__, between), b""], strict=True)
    return b"".join(chain.from_iterable(letters))


def _beside(separator: bytes, text: bytes) -> bytes:
    """The text between two letters, without the separator on either side."""
    rest = text.removeprefix(separator)
    if len(rest) > len(separator):
        rest = rest.removesuffix(separator)
    if len(separator) == 1 and not rest[1::2].strip(separator):
        return rest[::2]  # of several characters, each is followed by the separator
    return rest.replace(separator, b"") or rest


_NO_LETTERS = bytes(code for code in range(256) if not (code < 0x80 and chr(code).isalnum()))
_LETTERS = bytes(code for code in range(0x80) if chr(code).isalnum())
_ALONE = mark(_LETTERS)
_SEPARATOR = lazy_regex(rb"[^A-Za-z0-9]+")
_JOINING = b"_.-"
_NAME_KINDS = mark(_LETTERS + _JOINING)
_split_name = _translating(_JOINING, b"   ")
_NUMBER = lazy_regex(rb"(?<![0-9A-Za-z])[0-9]{1,4}(?![0-9A-Za-z])")
_AROUND_CELL = b" \t\r\n:;,|()[]{}\"'"
_CELL = lazy_regex(rb"[\s:;,|.()\[\]{}\"']{0,8}([!-~]{0,4}?)(?=[\s:;,|.()\[\]{}\"']|\Z)")
_LETTER_APART = rb"[^A-Za-z0-9\n]{1,%d}+[A-Za-z0-9](?![A-Za-z0-9])" % MAX_SEPARATOR
_LETTERS_APART = lazy_regex(
    rb"(?<![A-Za-z0-9])[A-Za-z0-9](?:%b){3}(?>(?>(?:%b){1,500})*)" % ((_LETTER_APART,) * 2)
)


def _decode_spelled(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Decode separated letters, with the text around them."""
    ranges: list[Range] = []
    for run in _letters_apart(data, start, end):
        low, high = run.start() - AROUND_BYTES, run.end() + AROUND_BYTES
        extend(ranges, max(start, low), min(end, high))
    for low, high in ranges:
        read = budget.replace(_LETTERS_APART, lambda r: _without_separators(r[0]), data[low:high])
        yield Decoded(read, "spelled", low, high)


def _letters_apart(data: bytes, start: int, end: int) -> Iterator[re.Match[bytes]]:
    """The matches of `_LETTERS_APART`, which is tried only at isolated letters."""
    kinds = data[start - 1 : start].translate(_ALONE) or b" "
    kinds += data[start:end].translate(_ALONE)
    at = 0
    while (at := kinds.find(b" a ", at)) >= 0:
        match = _LETTERS_APART.match(data, start + at, end)
        if not match:
            at += 2
        else:
            at = match.end() - start
            yield match


def _read_names(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Read each long name with an opening word of orders as words, except in addresses."""
    for low, high in runs(data, start, end, _NAME_KINDS, MIN_NAME):
        name = data[low:high].strip(_JOINING)
        if not _order_name().search(name) or len(_SEPARATOR.findall(name)) < FEW_JOINS:
            continue
        if _ADDRESS_BEFORE.search(data, max(start, low - AROUND_BYTES), low):
            continue
        if not budget.call():
            break
        at = data.index(name, low)
        yield Decoded(_split_name(name), "name", at, at + len(name), _split_name)


def _join_cells(data: bytes, start: int, end: int, budget: DecodingBudget) -> list[Decoded]:
    """Join the cells of a numbered list or table, each with a few characters."""
    spans: list[Range] = []
    cells = []
    first = 0
    for number in _NUMBER.finditer(data, start, end):
        value = int(number[0])
        if not spans and value <= 1:
            first = value
        if value == first + len(spans):
            before = data[spans[-1][1] : number.start()].removeprefix(b". ") if spans else b""
            cell = before.strip(_AROUND_CELL)
            if spans and not cell:
                continue  # the number is itself a cell
            cells += [cell] if spans else []
            spans.append(number.span())
    last = _CELL.match(data, spans[-1][1], end) if spans else None
    cells.append(last[1] if last else b"")
    if len(cells) < MIN_SECRET or not budget.call(len(cells)):
        return []
    between = b"" if max(map(len, cells)) <= 1 else b" "
    return [Decoded(between.join(cells), "numbered", spans[0][0], spans[-1][1])]


def _join_pieces(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
    """Join the pieces of a key with a known beginning, all with the same separator.

    The separator may have a label that counts, as in `a0=…&a1=…` or a numbered list.
    """
    # Where the last run that was joined begins and ends; True if it ended by itself.
    before = start
    covered = start
    is_whole = False
    for first, begun in sorted(_begin_keys(data, start, end)):
        high = min(end, begun + MOST_OF_KEY)
        until = covered if is_whole and begun + AROUND_BYTES < covered else high
        if first < covered and data.startswith(data[first:until], before):
            continue  # the same within it, as in `password=password=…`
        if not budget.call():
            break
        at = begun
        pieces = [data[first:begun]]
        separator = None
        while piece := _PIECE.match(data, at, high):
            between = piece[2].translate(None, b"0123456789")
            if separator is not None and between != separator:
                break
            separator = between
            pieces.append(piece[1])
            at = piece.end()
        before = first
        covered = at
        is_whole = high == end
        last = _LAST_PIECE.match(data, at, high) if separator else None
        if last is not None and len(pieces) >= FEW_PIECES:
            yield Decoded(b"".join((*pieces, last[0])), "pieces", first, last.end())


def _begin_keys(data: bytes, start: int, end: int) -> Iterator[Range]:
    """The known beginnings of keys: so many words are found faster one by one than by `re`.

    Only beginnings whose letters and digits up to a sign are a word of the text are looked for,
    and those without a sign that begin as a word does.
    """
    words = set(_words(data[start:end]))
    firsts = {word[:MIN_PREFIX] + b"+" for word in words} | words
    by_first = _by_first()
    for word in chain.from_iterable(map(by_first.__getitem__, by_first.keys() & firsts)):
        at = data.find(word, start, end)
        while at >= 0:
            if not data[at - 1 : at].isalnum():
                yield at, at + len(word)
            at = data.find(word, at + len(word), end)


def reverse(text: bytes) -> bytes:
    """Reverse the order of characters."""
    return text[::-1] if text.isascii() else text.decode("utf-8", "replace")[::-1].encode()


_LOWER = b"abcdefghijklmnopqrstuvwxyz"
_TURNED = _LOWER[13:] + _LOWER[:13]
rot13 = _translating(_LOWER + _LOWER.upper(), _TURNED + _TURNED.upper())
unleet = _translating(b"43105$7@!+89|", b"aeiosstaitbgl")
unleet_l = _translating(b"43105$7@!+89|", b"aelosstaitbgl")  # `1` as `l` instead of `i`


def watched_words() -> list[str]:
    """Words of which every order and every theft of a credential contains at least one."""
    return [word.replace(r"\x20", " ") for word in disguises.in_order("WATCHED")]


def _long_prefixes() -> list[str]:
    return [word for word in disguises.in_order("PREFIXES") if len(word) >= MIN_PREFIX]


def _any_disguised(
    spell: Callable[[str], str], *, boundary_before: str = "", boundary_behind: str = ""
) -> str:
    r"""A disguised pattern for all watched words, and for prefixes and schemes in their own case.

    A short prefix must not match within a word: `nfu_` in ROT13 is part of `hash_`. So its token
    must begin at a boundary, before or behind it. Hyperscan's own word boundary would double the
    cost of a pass. `\z` is Hyperscan's; `re` calls it `\Z`.

    Args:
        spell: disguises a word.
        boundary_before: of a short prefix.
        boundary_behind: of a short prefix.
    """
    plain = "|".join(re.escape(spell(word)) for word in watched_words())
    exact = []
    schemes = (f"{word}://" for word in disguises.in_order("SCHEMES"))
    for word in (*_long_prefixes(), *schemes):
        short = len(word) <= MIN_PREFIX and word[0].isalnum() and word not in disguises.INSIDE
        pattern = re.escape(spell(word))
        if spell(word) != word:
            exact.append(f"{boundary_before}{pattern}{boundary_behind}" if short else pattern)
    return f"(?i:{plain})|(?:{'|'.join(exact)})"


def _in_leet(word: str) -> str:
    """A pattern for a word with at least one letter written as a digit or a sign."""
    letters = [f"[{letter}{re.escape(_LEET.get(letter, ''))}]" for letter in word]
    forms = (
        re.escape(word[:at]) + f"[{re.escape(_LEET[letter])}]" + "".join(letters[at + 1 :])
        for at, letter in enumerate(word)
        if letter in _LEET
    )
    return "|".join(forms)


_BEFORE, _BEHIND = r"(?:[^0-9A-Za-z]|\A)", r"(?:[^0-9A-Za-z]|\z)"
_REVERSED_SIGN = partial(_any_disguised, lambda word: word[::-1], boundary_behind=_BEHIND)
_ROT13_SIGN = partial(
    _any_disguised, lambda word: rot13(word.encode()).decode(), boundary_before=_BEFORE
)


def _leet_sign() -> str:
    words = (word for word in watched_words() if len(word) >= LEETABLE and word.isalpha())
    return f"(?i:{'|'.join(map(_in_leet, words))})"


def _name_sign() -> str:
    opening = rf"{disguises.alternatives('OPENING')}|do[_.-]not"
    return f"(?:^|[^A-Za-z])(?i:{opening})(?:[_.-][A-Za-z]+){{3}}"


_order_name = cache(lambda: re.compile(_name_sign().encode()))


_ADDRESS_BEFORE = lazy_regex(rb"://[^\s\"'<>()]*\Z")
# Counted repetitions would make the automata of these signs larger, and twice as slow.
_SPELLED_SIGN = (
    r"[^A-Za-z0-9](?:[A-Za-z0-9][ ._*|,/-]){5}|[^A-Za-z0-9](?:[A-Za-z0-9][^A-Za-z0-9\n]+){9}"
)
_CELLS = r"[^0-9A-Za-z]+[!-~]{1,3}[^0-9A-Za-z]+"
_AS_WORDS = bytes(code if code in _LETTERS else 0x20 for code in range(256))
_PIECE = lazy_regex(  # and the separator after it, with a label that counts
    rb"([A-Za-z0-9]{0,48})"
    rb"([^A-Za-z0-9]{1,8}(?:[A-Za-z]{0,8}[0-9]{1,3}[\"']?\s?[=:.)\]]+\s?[\"']?)?)(?=[A-Za-z0-9])"
)
_LAST_PIECE = lazy_regex(rb"[A-Za-z0-9]{1,48}=*")


def _beginnings() -> list[str]:
    return [word for word in _long_prefixes() if word[0].isalnum()]


@cache
def _by_first() -> dict[bytes, list[bytes]]:
    """The beginnings, by the first word of each in a text."""
    by_first: dict[bytes, list[bytes]] = {}
    for beginning in _beginnings():
        word = beginning.encode()
        first = word[:MIN_PREFIX] + b"+" if beginning.isalnum() else _words(word)[0]
        by_first.setdefault(first, []).append(word)
    return by_first


def _words(data: bytes) -> list[bytes]:
    return data.translate(_AS_WORDS).split()


def _pieces_sign() -> str:
    """A pattern for the beginnings only; with the pieces, a pass takes ten times as long."""
    words = "|".join(map(re.escape, _beginnings()))
    return f"(?:[^A-Za-z0-9]|^)(?:{words})[A-Za-z0-9]*[^A-Za-z0-9]"


_NUMBERED_SIGN = f"[^0-9A-Za-z]3{_CELLS}4{_CELLS}5{_CELLS}6[^0-9A-Za-z]"


def _whole_range(
    view: str, *readers: Callable[[bytes], bytes], is_reversed: bool = False
) -> Decoder:
    """Make a decoder of the whole range.

    Args:
        view: the encoding, as findings name it.
        readers: each decodes a text in its own way.
        is_reversed: True if the text is read from its end; otherwise each decoded byte is at the
            offset of its source.
    """

    def decode(data: bytes, start: int, end: int, budget: DecodingBudget) -> Iterator[Decoded]:
        for reader in readers:
            if start < end and budget.call():
                of_part = None if is_reversed else reader
                yield Decoded(reader(data[start:end]), view, start, end, of_part, is_reversed)

    return decode


ENCODINGS = {
    "rot13": Encoding(_ROT13_SIGN, _whole_range("rot13", rot13)),
    "reversed": Encoding(_REVERSED_SIGN, _whole_range("reversed", reverse, is_reversed=True)),
    "leet": Encoding(_leet_sign, _whole_range("leet", unleet, unleet_l)),
    "spelled": Encoding(_SPELLED_SIGN, _decode_spelled),
    "name": Encoding(_name_sign, _read_names, is_open=True),
    "numbered": Encoding(_NUMBERED_SIGN, _join_cells, to_server_only=True),
    "pieces": Encoding(_pieces_sign, _join_pieces, to_server_only=True),
}
