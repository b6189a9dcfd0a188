"""The placeholder of a secret that was taken out, and all else that PipeGuard writes to a model.

A placeholder is `[secret:RULE:NUMBER:SIGNATURE]`. core.flows.vault makes and signs them; rules find
nothing in them. `NOTICE` finds notices of any kind, whoever wrote them: texts are also read without
them, so that none hides an order that it divides (core.scanning.readings).
"""

from __future__ import annotations

from pipeguard.core.lazy_regex import lazy_regex

PLACEHOLDER = lazy_regex(r"\[(?:secret|personal):[a-z0-9-]{1,64}:[0-9]{1,9}:[0-9a-f]{16}\]")
PLACEHOLDER_IN_BYTES = lazy_regex(PLACEHOLDER.pattern.encode())
MAX_PLACEHOLDER_BYTES = 110
# By core.session.cuts, core.session.redact, core.session.replies and isolation.walls.annotation.
NOTICE_SIGN = r"PipeGuard|\[(?:secret|personal|redacted):"
NOTICE = lazy_regex(
    rb"\[PipeGuard cut [^\[\]\n]{1,240}\]|\[redacted:[a-z0-9.-]{1,80}\]|"
    + PLACEHOLDER_IN_BYTES.pattern
    + rb"|(?:The tool ran, but PipeGuard withheld its result|PipeGuard stopped this call before the"
    rb" server saw it): rule \S{1,80} matched(?: in it)? \(\S{1,80}\)\."
    rb"(?: Do not try to get the same through in another form; go on without it, and tell the user"
    rb" of event \S{1,60}\.)?(?: (?:Only the user (?:decides|can)|Nobody can) [a-z ]{1,60}\.)?"
    rb"|PipeGuard blocked \S{1,80}(?: result)?: \S{1,80} in \S{1,80}"
    rb"|PipeGuard: (?:this server|the user) (?:(?!PipeGuard)[^\n]){1,600}?do not work around it\."
    rb"|PipeGuard(?::| holds the) (?:(?!PipeGuard)[^\n]){1,600}?\(event [\w.]{1,60}\)"
)
# In a frame that could hold a placeholder, plain or escaped (RFC 8259, section 7).
MARKS = (b"[secret:", b"[personal:", b"\\u00")


def may_hold_placeholder(frame: bytes) -> bool:
    """False where a frame certainly holds no placeholder."""
    return any(map(frame.__contains__, MARKS))
