"""The placeholder of a removed secret, and all other text that PipeGuard writes to a model.

A placeholder is `[secret:RULE:NUMBER:SIGNATURE]`. detect.flows.vault makes and signs them; rules
find nothing in them. `NOTICE` finds notices of any kind, whoever wrote them: texts are also read
without them, so that none hides an order that it divides (detect.scanning.readings).
"""

import re

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.native import find_native

PLACEHOLDER = lazy_regex(r"\[(?:secret|personal):[a-z0-9-]{1,64}:[0-9]{1,9}:[0-9a-f]{16}\]")
PLACEHOLDER_IN_BYTES = lazy_regex(PLACEHOLDER.pattern.encode())
MAX_PLACEHOLDER_BYTES = 110
# The notices of firewall.session.rewrite, firewall.session.replies and isolation.walls.witness.
# Readers take them for notices in any case, brackets, markup and layout, so these do not matter.
NOTICE_SIGN = r"(?i:pipe[\s_-]?guard|[\[({<]\s?(?:secret|personal|redacted)\s?:)"
MAX_NOTICE_BYTES = 1024
_OPEN = rb"[\[({<]"
_CLOSE = rb"[\])}>]"
_INSIDE = rb"[^\[\](){}<>]"
NOTICE = lazy_regex(
    rb"(?=[*_~`\[({<pt])[*_~`]{0,3}(?:"  # any other byte begins none, which this tells at once
    + rb"OPEN\s?(?:secret|personal|redacted)\s?:INSIDE{1,160}CLOSE"
    rb"|OPENINSIDE{0,40}?PipeGuard(?:INSIDE|OPENINSIDE{0,120}CLOSE){1,400}?CLOSE"
    rb"|OPEN?PipeGuard cut \d{1,9} characters here(?:,? event [\w.]{1,60})?(?:,? mark \w{1,40})?"
    rb"(?:,? which (?:look like an? [a-z]{1,9} (?:to a model|of PipeGuard)|it could not judge"
    rb"|hide text from a person or act on a terminal))?"
    rb"(?:\. Do not guess what was there)?\.?"
    rb"|(?:The tool ran, but PipeGuard withheld its result|PipeGuard stopped this call before the"
    rb" server saw it): rule \S{1,80} matched(?: in it)? \(\S{1,80}\)\."
    rb"(?: Do not try to get the same through in another form; go on without it, and tell the user"
    rb" of event \S{1,60}\.)?(?: (?:Only the user (?:decides|can)|Nobody can) [a-z ]{1,60}\.)?"
    rb"|PipeGuard blocked \S{1,80}(?: result)?: \S{1,80} in \S{1,80}"
    rb"|PipeGuard: this server (?:(?!PipeGuard).){1,600}?do not work around it\."
    rb"|PipeGuard(?::| holds the) (?:(?!PipeGuard).){1,600}?\(event [\w.]{1,60}\)"
    rb")[*_~`]{0,3}".replace(b"a-z ]", rb"a-z\s]")
    .replace(b" ", rb"\s++")
    .replace(b"PipeGuard", rb"pipe[\s_-]?guard")
    .replace(b"OPEN", _OPEN)
    .replace(b"CLOSE", _CLOSE)
    .replace(b"INSIDE", _INSIDE),
    re.IGNORECASE | re.DOTALL,
)


_ESCAPED_SIGN = lazy_regex(rb"(?i)\\u00(?:5b|3a|6[135cef]|7[0234])")


def may_hold_placeholder(frame: bytes) -> bool:
    """False if a frame certainly holds none, plain or escaped (RFC 8259, section 7)."""
    if b"[secret:" in frame or b"[personal:" in frame:
        return True
    return b"\\u00" in frame and _ESCAPED_SIGN.search(frame) is not None


def may_hold_name(frame: bytes) -> bool:
    """False if a frame certainly has no line that claims to be PipeGuard's."""
    return _NATIVE is None or bool(_NATIVE.may_hold_name(frame))


_NATIVE = find_native("detect._outline")
