"""Of all that an installer says, the line that says why it failed."""

from __future__ import annotations

import re

MOST_CHARS = 300
_PREFIX = re.compile(r"(?:npm (?:error|ERR!)|error:|cause:|×|╰─▶|├─▶)\s*", re.IGNORECASE)
_OF_NPM = re.compile(r"npm (?:error|ERR!)")
_KIND = re.compile(r"(?:notarget|network|enoent|notsup|engine)\s+", re.IGNORECASE)
# What npm says beside the reason: codes and numbers, advice, and where its log is.
_BESIDE = re.compile(
    r"(?:code|errno|syscall|path|dest|command|cwd)\b|(?:\w+ )?(?:In most cases|This is a problem|"
    r"Note that you can|tarball, folder|The requested resource)|A complete log|\w+$"
)


def reason_in(printed: str) -> str:
    """Why an installer failed, in one line; the end of what it said where no line says that.

    Args:
        printed: what npm, uv or pip printed.
    """
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    marked = [_PREFIX.sub("", line, count=1) for line in lines if _PREFIX.match(line)]
    telling = [line for line in marked if line and not _BESIDE.match(line)]
    if any(map(_OF_NPM.match, lines)):
        found = [_KIND.sub("", line, count=1) for line in telling[:1]]
    else:
        found = telling[-1:]  # pip and uv begin with what they tried
    return (found or lines[-1:] or [""])[0][:MOST_CHARS]
