"""Plain calls and results: most frames, in which one look tells that nothing is found.

`_outline.c` reads from the bytes of a short frame what that look needs, and makes no value of it.
Every other frame is judged in full, and so is each one where the extension was not built.
"""

from __future__ import annotations

from types import ModuleType

from pipeguard.detect.flows.secret_values import begun_key
from pipeguard.detect.flows.text_values import add_short_value, has_amount_name
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.text.layouts import is_sensitive
from pipeguard.detect.vault_placeholder import may_hold_placeholder
from pipeguard.firewall.protocol.message import PlainOutline
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS, Surface
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.guard import Guard

_IS_FIXED, _IS_SENSITIVE, _IS_AMOUNT = 1, 2, 4  # as in `_outline.c`
_FRAMES = frozenset({bytes, ParsedFrame})  # not what stands for a frame that was lost


def outline(frame: bytes, *, keyed: bool) -> PlainOutline | None:
    """PlainOutline a short tool call, or a result; None for any frame that needs its value.

    Args:
        frame: as it came.
        keyed: True for a call, False for a result.
    """
    if NATIVE is None or type(frame) not in _FRAMES:
        return None
    fields = NATIVE.outline_frame(frame, keyed, _READERS)
    return None if fields is None else _make(PlainOutline, fields)


def is_plain_call(knowledge: Knowledge, guard: Guard, outline: PlainOutline, frame: bytes) -> bool:
    """True if one look tells that nothing is found in a call, and nothing remembered of it.

    That is, neither by `findings.message_findings` nor by `findings.leak_findings`.

    Args:
        knowledge: of the server.
        guard: of the server.
        outline: of the call.
        frame: the call.
    """
    vault = knowledge.vault
    if may_hold_placeholder(frame) or not (vault is None or vault.is_empty):
        return False
    tool = knowledge.tool(guard, outline.tool or "")
    if knowledge.flows.concern(tool, may_hold_address=outline.may_hold_address):
        return False
    if outline.ends and begun_key(outline.ends):
        return False
    return _sees_nothing(knowledge, Surface.TO_SERVER, outline)


def is_plain_result(knowledge: Knowledge, outline: PlainOutline, frame: bytes) -> bool:
    """True if one look tells that nothing is found or masked in the result of a call.

    Args:
        knowledge: of the server.
        outline: of the result.
        frame: the result.
    """
    if b"\\u00" in frame or b"pipeguard" in frame.lower():
        return False
    if knowledge.known_secrets.may_occur(frame):
        return False
    if knowledge.vault is not None and knowledge.vault.sent_secrets():
        return False
    return _sees_nothing(knowledge, Surface.TO_CLIENT, outline)


def _sees_nothing(knowledge: Knowledge, surface: Surface, outline: PlainOutline) -> bool:
    return all(engine.sees_nothing(outline, surface) for engine in knowledge.scanners[surface])


def _describe(name: str) -> int:
    """Describe a name to `_outline.c`, which asks once for most of them."""
    facts = _IS_FIXED if name in FIXED_VALUE_KEYS else 0
    facts |= _IS_SENSITIVE if is_sensitive(name) else 0
    return facts | (_IS_AMOUNT if has_amount_name(name) else 0)


def native() -> ModuleType | None:
    """The form in C; None where it was not built."""
    try:
        from pipeguard.detect import _outline
    except ImportError:
        return None
    return _outline


NATIVE = native()
_READERS = (_describe, add_short_value)
_make = tuple.__new__  # in a third of the time
