"""One look at a short call or result, without parsing its value: it clears most frames.

`_outline.c` reads the input of that look from the bytes of a frame. If it was not built, every
frame is judged in full.
"""

from __future__ import annotations

from pipeguard.detect.findings import SHORT_BYTES, Findings, name_frame
from pipeguard.detect.flows.leak_search import is_concerned
from pipeguard.detect.flows.secret_values import find_begun_key
from pipeguard.detect.flows.text_values import NAME_READERS, names_obeyed_file
from pipeguard.detect.matching.confirm import EXPRESSIONS
from pipeguard.detect.text.windowing import BLOCK_BYTES
from pipeguard.firewall.finding import Direction
from pipeguard.firewall.protocol.message import PlainOutline
from pipeguard.firewall.protocol.pending import Targets
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.placeholders import may_hold_name, may_hold_placeholder
from pipeguard.firewall.session.rewrite import CUT_SIGN
from pipeguard.native import find_native
from pipeguard.unicode import folding


class PlainLook(Findings):
    """The first look at messages of a server and its client."""

    def outline(self, direction: Direction, frame: bytes) -> PlainOutline | None:
        """Outline a short tool call, or a result; None for any frame that needs its value.

        Its value is needed if text in the frame could be taken out of it or put back into it.
        """
        EXPRESSIONS.begin_message(len(frame))
        if NATIVE is None or type(frame) not in (bytes, ParsedFrame):  # but for a lost answer
            return None
        is_call = direction is Direction.TO_SERVER
        fields = NATIVE.outline_frame(frame, is_call, NAME_READERS)
        if fields is None or (self._may_restore if is_call else self._may_mask)(frame):
            return None
        return _make(PlainOutline, fields)

    def _may_restore(self, frame: bytes) -> bool:
        has_secrets = self.vault is not None and not self.vault.is_empty
        return has_secrets or may_hold_placeholder(frame) or CUT_SIGN.encode() in frame

    def _may_mask(self, frame: bytes) -> bool:
        is_sent = self.vault is not None and self.vault.sent_secrets() != {}
        return is_sent or may_hold_name(frame) or self.known_secrets.may_occur(frame)

    def may_leak(self, guard: Guard, outline: PlainOutline) -> bool:
        """True if `find_leaks` may find something in a call, or remember something of it."""
        tool = self.tool(guard, outline.tool or "")
        begins_key = outline.ends and find_begun_key(outline.ends)
        return bool(begins_key) or is_concerned(self.flows, tool, outline)

    def sees_nothing(self, frame: bytes, outline: PlainOutline, call: Targets) -> bool:
        """True if one look shows that no rule matches in any reading of a call or of a result.

        Args:
            frame: the message.
            outline: of the message.
            call: the targets of the call, or of the one that is answered.

        Raises:
            EngineError: an engine failed.
        """
        name = name_frame(frame, outline.id_token)
        known = self.clean_frames if len(frame) <= SHORT_BYTES else self.clean_texts
        if name and known.has(name, call, lasts=False):
            return True
        is_call = outline.tool is not None
        surface = Surface.TO_SERVER if is_call else Surface.TO_CLIENT
        if len(outline.data) > BLOCK_BYTES or (is_call and names_obeyed_file(outline.data)):
            return False
        if not is_call and b"\\" in outline.data:
            outline = outline._replace(data=folding.soften(outline.data))
        from pipeguard.detect.scanning.first_look import finds_nothing  # no first answer needs it

        is_clean = all(finds_nothing(each, surface, outline) for each in self.scanners[surface])
        if is_clean and name:
            known.add(name, call, lasts=False)
        return is_clean


NATIVE = find_native("detect._outline")
_make = tuple.__new__  # in a third of the time
