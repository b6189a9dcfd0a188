"""One look at a short call or result, without parsing its value: it clears most frames.

`_outline.c` reads the input of that look from the bytes of a frame. If it was not built, every
frame is judged in full.
"""

from __future__ import annotations

from functools import partial

from pipeguard.detect.findings import Findings
from pipeguard.detect.flows.secret_values import begun_key
from pipeguard.detect.flows.text_values import add_short_value, has_amount_name, names_obeyed_file
from pipeguard.detect.scanning.first_look import RuleLookup, are_idle, glance, reads_clean
from pipeguard.detect.text.layouts import is_sensitive
from pipeguard.detect.text.windowing import OVERLAP_BYTES
from pipeguard.detect.vault_placeholder import may_hold_name, may_hold_placeholder
from pipeguard.firewall.finding import Direction
from pipeguard.firewall.protocol.message import PlainOutline
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS, Surface
from pipeguard.firewall.protocol.strict_json import ParsedFrame, read_json
from pipeguard.firewall.session.guard import Guard
from pipeguard.native import find_native
from pipeguard.unicode import folding

_IS_FIXED, _IS_SENSITIVE, _IS_AMOUNT = 1, 2, 4  # as in `_outline.c`
_FRAMES = frozenset({bytes, ParsedFrame})  # a stand-in for a lost answer is neither


class PlainLook(Findings):
    """The first look at messages of a server and its client."""

    def outline(self, direction: Direction, frame: bytes) -> PlainOutline | None:
        """Outline a short tool call, or a result; None for any frame that needs its value.

        Its value is needed if text in the frame could be taken out of it or put back into it.
        """
        if NATIVE is None or type(frame) not in _FRAMES:
            return None
        is_call = direction is Direction.TO_SERVER
        has_secrets = self.vault is not None and not self.vault.is_empty
        if (has_secrets or may_hold_placeholder(frame)) if is_call else self._may_be_masked(frame):
            return None
        fields = NATIVE.outline_frame(frame, is_call, _READERS)
        return None if fields is None else _make(PlainOutline, fields)

    def _may_be_masked(self, frame: bytes) -> bool:
        if may_hold_name(frame):
            return True
        is_sent = self.vault is not None and self.vault.sent_secrets() != {}
        return is_sent or self.known_secrets.may_occur(frame)

    def may_leak(self, guard: Guard, outline: PlainOutline) -> bool:
        """True if `find_leaks` may find something in a call, or remember something of it."""
        tool = self.tool(guard, outline.tool or "")
        if self.flows.concern(tool, may_hold_address=outline.may_hold_address):
            return True
        return bool(outline.ends and begun_key(outline.ends))

    def sees_nothing(self, direction: Direction, outline: PlainOutline) -> bool:
        """True if one look shows that no rule matches in any reading of a call or of a result.

        Raises:
            EngineError: an engine failed.
        """
        is_call = direction is Direction.TO_SERVER
        surface = Surface.TO_SERVER if is_call else Surface.TO_CLIENT
        if is_call and names_obeyed_file(outline.data):
            return False
        if not is_call and b"\\" in outline.data:
            outline = outline._replace(data=folding.soften(outline.data))
        return all(_finds_nothing(engine, surface, outline) for engine in self.scanners[surface])


def _finds_nothing(lookup: RuleLookup, surface: Surface, outline: PlainOutline) -> bool:
    data, joined, seam = outline.data, outline.joined, outline.seam
    parts = b"" if seam < 0 else joined[: seam + OVERLAP_BYTES]  # as `first_look`
    hits, joined_hits, opened = glance(lookup, (data, parts, surface, False))
    if joined_hits or opened:
        return False
    question = data, surface, hits
    if hits and not are_idle(lookup, question, bool, partial(_find_acts, outline)):
        return False
    return reads_clean(lookup, (data, joined), surface, is_several=seam >= 0)


def _find_acts(outline: PlainOutline, windows: bool) -> bytes | None:  # noqa: FBT001  a callback
    """The lines for the effects of arguments; None if they have to be read together."""
    from pipeguard.detect.commands.effects import flat_effects  # here, as in `first_look`

    arguments, _ = read_json(outline.arguments) if outline.arguments else ({}, b"")
    if not isinstance(arguments, dict):
        return None
    return flat_effects(outline.tool, arguments, len(outline.data), windows=windows)


def _describe(name: str) -> int:
    """Describe a name to `_outline.c`, which asks once for most names."""
    facts = _IS_FIXED if name in FIXED_VALUE_KEYS else 0
    facts |= _IS_SENSITIVE if is_sensitive(name) else 0
    return facts | (_IS_AMOUNT if has_amount_name(name) else 0)


NATIVE = find_native("detect._outline")
_READERS = (_describe, add_short_value)
_make = tuple.__new__  # in a third of the time
