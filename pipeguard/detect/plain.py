"""One look at a short call or result, without parsing its value: it clears most frames.

`_outline.c` reads the input of that look from the bytes of a frame. If it was not built, every
frame is judged in full.
"""

from pipeguard.detect.clean_texts import name_frame
from pipeguard.detect.flows.leak_search import is_concerned
from pipeguard.detect.flows.secret_values import find_begun_key
from pipeguard.detect.flows.text_values import NAME_READERS, is_posted, names_obeyed_file
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.matching.confirm import EXPRESSIONS
from pipeguard.detect.text.windowing import BLOCK_BYTES
from pipeguard.firewall.finding import Direction
from pipeguard.firewall.protocol.message import PlainOutline
from pipeguard.firewall.protocol.pending import NO_CALL, Targets
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.placeholders import may_hold_name, may_hold_placeholder
from pipeguard.firewall.session.rewrite import CUT_SIGN
from pipeguard.native import find_native
from pipeguard.unicode import folding


class OutlinedFrame:
    """A look at the bytes of a short tool call, or of a result.

    Attributes:
        outline: of the frame.
        call: the files and hosts that a call names.
    """

    def __init__(self, knowledge: Knowledge, frame: bytes, outline: PlainOutline) -> None:
        self._knowledge = knowledge
        self._frame = frame
        self.outline = outline
        self.call = NO_CALL
        if outline.tool is not None:
            # No first answer needs it.
            from pipeguard.detect.commands.call_names import find_targets

            self.call = find_targets("tools/call", outline.tool, frame, len(frame))

    def sees_nothing(self, call: Targets) -> bool:
        """True if no rule matches in any reading of the frame.

        Args:
            call: the targets of the call, or of the one that is answered.

        Raises:
            EngineError: an engine failed.
        """
        clean_texts = self._knowledge.clean_texts
        outline = self.outline
        name = name_frame(self._frame, outline.id_token)
        if clean_texts.has(name, call):
            return True
        is_call = outline.tool is not None
        surface = Surface.TO_SERVER if is_call else Surface.TO_CLIENT
        if len(outline.data) > BLOCK_BYTES or (is_call and names_obeyed_file(outline.data)):
            return False
        if not is_call and b"\\" in outline.data:
            outline = outline._replace(data=folding.soften(outline.data))
        from pipeguard.detect.scanning.first_look import finds_nothing  # no first answer needs it

        engines = self._knowledge.scanners[surface]
        is_clean = all(finds_nothing(engine, surface, outline) for engine in engines)
        if is_clean:
            clean_texts.add(name, call)
        return is_clean

    def may_leak(self, guard: Guard) -> bool:
        """True if something may leave with the call, or is to be remembered of it."""
        outline = self.outline
        tool = self._knowledge.tools.label(guard, outline.tool or "")
        begins_key = outline.ends and find_begun_key(outline.ends)
        return bool(begins_key) or is_concerned(self._knowledge.flows, tool, outline)


def look_at_frame(knowledge: Knowledge, direction: Direction, frame: bytes) -> OutlinedFrame | None:
    """Look at a short tool call, or a result; None for any frame that needs its value.

    Its value is needed if text in the frame could be taken out of it or put back into it.
    """
    EXPRESSIONS.begin_message(len(frame))
    if NATIVE is None or type(frame) not in (bytes, ParsedFrame):  # but for a lost answer
        return None
    is_call = direction is Direction.TO_SERVER
    fields = NATIVE.outline_frame(frame, is_call, NAME_READERS)
    if fields is None:
        return None
    outline, vault = _make(PlainOutline, fields), knowledge.vault
    if is_call:
        may_restore = may_hold_placeholder(frame) or _CUT_SIGN in outline.data
        has_secret = vault.find_secrets(outline.data.decode()) != []
        needs_value = may_restore or has_secret or is_posted(frame)
    else:
        may_mask = may_hold_name(frame) or knowledge.known_secrets.may_occur(frame)
        needs_value = may_mask or vault.sent_secrets() != {}
    return None if needs_value else OutlinedFrame(knowledge, frame, outline)


NATIVE = find_native("detect._outline")
_CUT_SIGN = CUT_SIGN.encode()
_make = tuple.__new__  # in a third of the time
