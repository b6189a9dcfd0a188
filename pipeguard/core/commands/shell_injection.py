"""Whether a value goes on as a command, where a tool puts it into a command line of its own.

A separator, a substitution or a quote, and after it the name of a program. Names that are English
words as well need an argument that no prose has. Knows no rules.
"""

from __future__ import annotations

import re

from pipeguard.core.lazy_regex import lazy_regex

# Names of programs that are no English words.
_SURE = (
    r"curl|wget|ncat|netcat|bash|zsh|whoami|uname|nslookup|ifconfig|netstat|printenv|base64|chmod|"
    r"powershell|pwsh|mkfifo|telnet|tftp|scp|xargs|ipconfig|systeminfo|python3?|perl|socat|"
    r"busybox|chown|wscript|certutil|mshta|rundll32|pwd|iptables|useradd|crontab"
)
# Names that need an argument that no prose has.
_PERHAPS = (
    r"cat|rm|sh|nc|id|ls|env|echo|touch|sleep|ping|head|tail|ssh|dig|ps|kill|reboot|shutdown|tee|"
    r"awk|sed|find|eval|exec|source|export|node|ruby|php|cp|mv|dd|type|dir|net|cmd|host|mail|halt|"
    r"less|more|tar|set|date|hostname|w|who|last|cd|mkdir|strings|xxd|printf|test|true|su|sudo"
)
_PREFIX = r"(?:sudo\s{1,4})?(?:/(?:usr/)?(?:local/)?s?bin/)?"
_INJECTED = lazy_regex(
    # after a separator, a sure name, or another one with such an argument, or one at the end
    rf"(?:[;\n]|&&?|\|\|?|%0a)\s{{0,8}}{_PREFIX}(?:(?:{_SURE})(?:\s|[;&|>\"'#)]|\Z)"
    rf"|(?:{_PERHAPS})(?:\s|%20){{1,4}}(?:-|/|~|\$|\.{{1,2}}/|>|<|[^\s|]{{0,60}}[/$>]|\d{{1,4}}(?:\s|;|\Z|#)"
    r"|[\w-]{1,60}\.[\w.-]{1,60}))"
    rf"|(?:;|&&|\|\|?|&)\s{{0,4}}{_PREFIX}(?:id|ls|env|whoami|reboot|halt|ps|w|dir|set|shutdown)\s{{0,4}}"
    r"(?:\Z|[;&#>]|\|\s{0,4}\w)"
    rf"|\$\(\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})(?:[\s)<>|;$]|\Z)"
    rf"|(?:[^\s`]`|`\s{{0,4}}(?=[^`]{{0,200}}[\s>|;$]))\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})"
    r"(?:\s{1,4}[^`\s]{0,80}[-/$.>|;]|[`>|;$<])"
    r"|\$\{?IFS|<\(\s{0,4}\w{2,12}\s|\$\(\([^)\n]{0,40}\)\)\s{0,4}[;|&]"
    rf"|\A\s{{0,4}}(?:print\s|echo\s)?`\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})(?:\s[^`\n]{{0,80}})?`\s{{0,4}}\Z"
    rf"|'\s{{0,4}}[;&|]{{1,2}}\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})\s",
    re.IGNORECASE,
)


_TABLE_ROW = lazy_regex(r"^\s*\|.*\|\s*$", re.MULTILINE)


def injects_command(value: str) -> bool:
    """True where a value goes on as a command."""
    if "|" in value and _TABLE_ROW.search(value):
        return False
    return _INJECTED.search(value) is not None
