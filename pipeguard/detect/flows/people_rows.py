"""Rows of tables about people, and how much of them is in a call, however either is laid out.

Both are read as facts and words: a fact is a date, a number or a mail address. Case, accents,
look-alikes, separators and the layout of dates and numbers do not matter.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from itertools import islice

from pipeguard.detect.flows.text_values import read_json
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, as_object, read_object
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import fold

TABLE_CHARS = 2**16  # of a text whose rows are read
MOST_LINES = 2**12  # of it
MOST_ITEMS = 32  # of a row: more are prose
LEAST_DIGITS = 4  # of a number that tells something of somebody
LEAST_LETTERS = 3  # of a word that tells rows apart
LIFE_YEARS = 10  # between dates of people's lives; those of appointments and orders are nearer

_YEAR = r"(?:19|20)\d\d(?!\d)"
_ITEM = lazy_regex(
    rf"""(?x)[\w.+-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}})+
    | (?P<date>(?<!\d)(?:{_YEAR}[-./年]\ ?\d\d?[-./月]\ ?\d\d?(?!\d)
        | \d\d?[-./]\ ?\d\d?[-./]\ ?{_YEAR}
        | \d\d?(?:st|nd|rd|th)?[.,]?\ (?:[^\W\d_]{{1,12}}[.,]?\ ){{1,3}}{_YEAR}
        | (?<=[^\W\d_][. ])\d\d?(?:st|nd|rd|th)?,?\ {_YEAR}))
    | (?P<number>(?<!\w)[+0]\d(?:[ ()./-]{{0,2}}\d){{6,}} | \d{{1,3}}(?:\ \d{{3}})+(?!\d)
        | \d+(?:[.,'/-]\d+)*)
    | [^\W\d_]+"""
)
_PLAIN_YEAR = lazy_regex(_YEAR)
_CENTS = lazy_regex(r"[.,]\d\d?\Z")
_DIGITS = lazy_regex(r"\d+")
_ROW_END = lazy_regex(r"(?i)</(?:tr|li|p|div|h\d)>|<br ?/?>")
_TAG = lazy_regex(r"</?[A-Za-z][^<>]{0,200}>")


class TakenRows(NamedTuple):
    """The part of a table that is in a call.

    Attributes:
        records: rows with a fact and something else that only they have.
        contacts: rows with a mail address or a telephone number.
        named: rows with a fact, or two words that only they have.
    """

    records: int = 0
    contacts: int = 0
    named: int = 0


def read_items(text: str) -> list[str]:
    """The facts and words of a text; of a date, its year and its other numbers: `1971/4/3`."""
    if not text.isascii():
        text = fold(text.encode("utf-8", "replace"))[0].decode("utf-8", "replace")
        text = plain_digits(text)
    items: list[str] = []
    for match in _ITEM.finditer(text.casefold()):
        item = match[0].strip(".")
        if match["date"]:
            numbers = sorted(map(int, _DIGITS.findall(item)), reverse=True)
            item = "/".join(map(str, numbers))
        elif match["number"]:
            sign = "+" if item[0] == "+" else ""
            item = sign + "".join(_DIGITS.findall(_CENTS.sub("", item)))
        items.append(item)
    return items


def plain_digits(text: str) -> str:
    """A text with the digits of all scripts in ASCII."""
    if text.isascii():
        return text
    return "".join([str(int(sign)) if sign.isdecimal() else sign for sign in text])


def read_sent(texts: Iterable[str]) -> set[str]:
    """Everything in a call that may be an item of a row."""
    text = "\n".join(texts)
    items = read_items(text)
    return {*_DIGITS.findall(text), *(each for item in items for each in _list_spellings(item))}


def _list_spellings(item: str) -> list[str]:
    """An item, or a date by its year and what may be the day: its month may be a word."""
    year, *days = item.removeprefix("+").split("/")
    return [f"{year}/{day}" for day in days] or [year]


def list_tables(value: JsonValue) -> Iterator[str]:
    """The tables of a result: a row is a line, and has a space between its items."""
    for member in read_object(as_object(value), "result").values():
        for part in member if type(member) is list else [member]:
            text = "\n".join(islice(_lay_out(part, ""), MOST_LINES))[:TABLE_CHARS]
            if "</" in text or "<br" in text:
                text = _TAG.sub(" ", _ROW_END.sub("\n", text))
            rows = (" ".join(read_items(row)) for row in _list_rows(text))
            yield "\n".join(dict.fromkeys(rows))


def _lay_out(value: JsonValue, key: str) -> Iterator[str]:
    """Lines with the members of objects, and with lists of plain values."""
    inner = read_json(value.encode("utf-8", "replace")) if type(value) is str else value
    if type(inner) is dict:
        yield key
        for name, item in inner.items():
            yield from _lay_out(item, name)
    elif type(inner) is list and any(type(item) in {dict, list} for item in inner):
        yield key
        for item in inner:
            yield from _lay_out(item, "")
    else:
        text = " | ".join(map(str, inner)) if type(inner) is list else str(value)
        yield f"{key}:" + ("\n" if "\n" in text else " ") + text


def _list_rows(text: str) -> Iterator[str]:
    """The rows of a text: a line, and those below it whose labels occur again elsewhere."""
    lines = [*filter(str.strip, text.split("\n"))]
    counts = Counter(line.partition(":")[0] for line in lines)
    row: dict[str, str] = {}
    for line in lines:
        label = line.partition(":")[0]
        if not label or label in row or counts[label] < 2:
            yield "\n".join(row.values())
            row = {}
        row[label] = line
    yield "\n".join(row.values())


def count_taken(
    table: str, sent: Container[str], earlier: Container[str], *, about_people: bool | None
) -> TakenRows:
    """Count the rows of which a call has items that its client had not said before.

    An item that several rows have tells nothing about one of them.

    Args:
        table: from `list_tables`.
        sent: the items of the call.
        earlier: those of the client's earlier words.
        about_people: True if each row is about a person, None if one with a mail address is; False
            if only dates of lives can tell.
    """
    rows = [row.split(" ")[:MOST_ITEMS] for row in table.split("\n") if row]
    counts = Counter(item for row in rows for item in {*row})
    years = [int(item[:4]) for item in counts if "/" in item]
    is_known = about_people or (len(years) > 1 and max(years) - min(years) >= LIFE_YEARS)
    records = contacts = named = 0
    for row in rows:
        own = {item for item in row if counts[item] == 1 and _has(sent, item)}
        new = {item for item in own if not _has(earlier, item)}
        facts = [*filter(_is_fact, new)]
        told = len(facts) + sum(map(_is_word, new))
        if is_known or (about_people is None and any(map(_reaches, row))):
            records += bool(facts) and told > 1
            contacts += any(map(_reaches, facts))
            named += bool(facts) or told > 1
    return TakenRows(records, contacts, named)


def _reaches(item: str) -> bool:
    return "@" in item or item[0] == "+"


def _has(items: Container[str], item: str) -> bool:
    if item.isalnum():
        return item in items
    return any(each in items for each in _list_spellings(item))


def _is_fact(item: str) -> bool:
    is_number = item.isdigit() and len(item) >= LEAST_DIGITS and not _PLAIN_YEAR.fullmatch(item)
    return is_number or _reaches(item) or "/" in item


def _is_word(item: str) -> bool:
    return item.isalpha() and (len(item) >= LEAST_LETTERS or not item.isascii())
