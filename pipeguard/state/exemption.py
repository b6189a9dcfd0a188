"""An exception as a person makes it: its scope, its effect, and its entry in a policy."""

from __future__ import annotations

import glob
import json
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.firewall.finding import tells_private
from pipeguard.firewall.policy import Selector
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.unicode.display import quote, visible

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Sequence


class Breadth(Enum):
    """The width of an exception, the narrowest first."""

    CONTENT = "content"  # the text found, and nothing else
    PATH = "path"  # calls that name this file
    HOST = "host"  # calls that name this host
    TOOL = "tool"  # all calls of the tool


class Exemption(NamedTuple):
    """An entry of `exceptions` as a person reads it: with names, not globs.

    Attributes:
        tool: the tool, or empty if it is about none.
        place: the place of the finding.
        until: the last day on which it applies, or None.
        why: the person's reason.
        content: the fingerprints of the text it is for, one of each rule; empty for any.
        path: the file that a call names; empty for any.
        host: the host that a call names; empty for any.
    """

    rule: str
    server: str
    tool: str
    place: str
    until: datetime.date | None
    why: str
    content: str = ""
    path: str = ""
    host: str = ""

    def join(self, other: Exemption) -> Exemption:
        """Return one exception for what two rules of a pack found in the same text."""
        contents = dict.fromkeys((*self.content.split(), *other.content.split()))
        rule = self.rule if other.rule == self.rule else f"{self.rule.partition('.')[0]}.*"
        return self._replace(rule=rule, content=" ".join(contents))

    def fields(self) -> list[tuple[str, str]]:
        """Keys and values as YAML; a name that looks like a glob is escaped."""
        pairs = [
            ("rule", self.rule),
            ("server", _quote(_as_glob(self.server, MAX_NAME_CHARS))),
            ("tool", _quote(_as_glob(self.tool, MAX_NAME_CHARS))),
            ("place", self.place),
            ("content", _quote(self.content)),
            ("path", _quote(_as_glob(self.path))),
            ("host", _quote(_as_glob(self.host))),
            ("until", str(self.until or "")),
            ("why", _quote("".join(c if c.isprintable() else " " for c in self.why))),  # one line
        ]
        return [(key, value) for key, value in pairs if value]

    @property
    def where(self) -> Selector:
        """The findings that it applies to."""
        tool = _as_glob(self.tool, MAX_NAME_CHARS) if self.tool else "*"
        return Selector(
            *(self.rule, self.place, _as_glob(self.server, MAX_NAME_CHARS), tool),
            content=self.content,
            path=_as_glob(self.path),
            host=_as_glob(self.host),
        )

    @property
    def breadth(self) -> Breadth:
        """The width of the exception."""
        return next((each for each in Breadth if getattr(self, each.value)), Breadth.TOOL)


def describe_opening(exemptions: Iterable[Exemption]) -> list[str]:
    """Describe, in a sentence each, what else exceptions let pass, with the rules at the end."""
    alike: dict[str, list[Exemption]] = {}
    for each in exemptions:
        alike.setdefault(_describe(each), []).append(each)
    return [
        f"{_describe(those[0], is_one=len({each.content for each in those}) == 1)}"
        f" ({', '.join(dict.fromkeys(visible(each.rule) for each in those))})"
        for those in alike.values()
    ]


def describe_place(place: str) -> str:
    """The place of a finding in words, as `the call arguments`."""
    message, _, part = place.partition(".")
    return f"the {part} {message}" if part == "structured" else f"the {message} {part}".rstrip()


def _describe(exemption: Exemption, *, is_one: bool = True) -> str:
    """Describe an exception, or several that differ in their contents, without its rule."""
    place = exemption.place
    tool = exemption.tool and quote(exemption.tool)
    named = exemption.path or exemption.host
    before = f"{describe_place(place)} of "
    of = f"calls of {tool}" if tool else "messages"
    if place == "call.arguments":
        before = ""
    elif place == "result.text" and exemption.tool and not named:
        before = ""
        of = f"results of {tool}"
    ends = ": the model then sees it" if place.startswith("result.") else ""
    if named:
        return f"{before}{of} that name {quote(named)}, and no other file or host{ends}"
    if not exemption.content:
        return f"everything of this kind in {before}all {of}{ends}"
    noun = "value" if tells_private(exemption.rule) else "text"
    again = f"this {noun} again" if is_one else f"the {noun}s found here again"
    if noun == "text":
        return f"{again}, unchanged, in {before}{of}{ends}"
    return f"{again} in {before}{of}{', to any recipient' if not before and not ends else ends}"


def entries(exemptions: Sequence[Exemption], indent: str = "") -> str:
    """Exceptions as entries of a YAML list, each on lines of its own."""
    lines = []
    for exemption in exemptions:
        mark = "- "
        for key, value in exemption.fields():
            lines.append(f"{indent}{mark}{key}: {value}\n")
            mark = "  "
    return "".join(lines)


def flow_entry(exemption: Exemption) -> str:
    """An exception as an entry of a flow sequence (YAML 1.2, section 7.4)."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in exemption.fields()) + "}"


def _as_glob(name: str, cut_chars: int = 0) -> str:
    """A glob for one name, as a policy can have it.

    A letter that a policy cannot have is `?`. The glob of a name that the audit has cut, to
    `cut_chars`, fits all that begin with it.
    """
    escaped = "".join(letter if letter.isprintable() else "?" for letter in glob.escape(name))
    if escaped.startswith(" "):
        escaped = f"[ ]{escaped[1:]}"
    if escaped.endswith(" "):
        escaped = f"{escaped[:-1]}[ ]"
    return f"{escaped}*" if cut_chars and len(name) >= cut_chars else escaped


def _quote(text: str) -> str:
    """A YAML double-quoted scalar, as a JSON string is one (YAML 1.2, section 1.3); or empty."""
    return json.dumps(text, ensure_ascii=False) if text else ""
