"""Signs that a text holds something encoded. Knows patterns for the scan engine, and no decoder.

The engine runs them in the same pass as the rules, so that a block of text in which nothing is
encoded costs nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum

from pipeguard.core.text import word_disguises
from pipeguard.core.unicode.folding import Range

# What stands in lines for PowerShell or cmd alone: a word, which is looked for first, and then
# the whole of it. All in small letters.
_WORDS_OF_WINDOWS: dict[str, str] = {
    "powershell": "", "pwsh": "", "cmd": r"(?:\.exe)?\s{1,4}/", "iex": r"\b", "irm": r"\b",
    "iwr": r"\b", "invoke-": r"\w", "new-object": r"\b", "remove-item": r"\b",
    "get-content": r"\b", "get-childitem": r"\b", "set-": r"\w", "add-": r"\w", "start-": r"\w",
    "stop-": r"\w", "clear-": r"\w", "disable-": r"\w", "new-": r"\w", "register-": r"\w",
    "import-module": r"\b", "copy-item": r"\b", "format-volume": r"\b", "certutil": r"\b",
    "bitsadmin": r"\b", "mshta": r"\b", "rundll32": r"\b", "regsvr32": r"\b", "wmic": r"\b",
    "vssadmin": r"\b", "bcdedit": r"\b", "wbadmin": r"\b", "schtasks": r"\b", "diskpart": r"\b",
    "takeown": r"\b", "icacls": r"\b", "netsh": r"\b", "wevtutil": r"\b", "cscript": r"\b",
    "wscript": r"\b", "msiexec": r"\b", "reg": r"(?:\.exe)?\s{1,4}(?:add|save|delete|query|export)",
    "net": r"1?(?:\.exe)?\s{1,4}(?:user|localgroup|stop|use)", "sc": r"(?:\.exe)?\s{1,4}\w",
    "rd": r"\s{1,4}/", "rmdir": r"\s{1,4}/", "del": r"\s{1,4}/", "erase": r"\s{1,4}/",
    "format": r"\s{1,4}[a-z]:", "cipher": r"\s{1,4}/w", "ri": r"\s{1,4}-", "rm": r"\s{1,4}-rec",
    "procdump": r"\b", "ntdsutil": r"\b", "esentutl": r"\b", "cmdkey": r"\b", "vaultcmd": r"\b",
    "mimikatz": "", "sekurlsa": "", "get-disk": r"\b", "gci": r"\b", "saps": r"\b",
}  # fmt: skip
# The word comes first, since an expression that begins with fixed letters is found at once.
WINDOWS_WORDS = [
    (word, re.compile(rf"{re.escape(word)}(?<!\w{re.escape(word)}){rest}"))
    for word, rest in _WORDS_OF_WINDOWS.items()
]
_MARKS_OF_WINDOWS = (
    ("^", r"\w\^\w"),
    ("[char", r"\[char"),
    ("[convert", r"\[convert"),
    ("[text.", r"\[text\."),
    ("$env:", r"\$env:"),
    ("-join", r"-join\b"),
    ("+", r"(?:'|\")\s{0,4}\+\s{0,4}['\"]"),
    ("-f", r"\{\d\}['\"]\s{0,4}-f\b"),
    ("%", r"%[a-z]{3,20}(?:%|:)"),
)
WINDOWS_SIGNS = [(sign, re.compile(rest)) for sign, rest in _MARKS_OF_WINDOWS]
# For the scan engine, which looks for them in the same pass as for all else.
_ALL_OF_WINDOWS = (
    *(re.escape(word) + rest for word, rest in _WORDS_OF_WINDOWS.items()),
    *dict(_MARKS_OF_WINDOWS).values(),
)
_WINDOWS = f"(?i:{'|'.join(_ALL_OF_WINDOWS)})"


class Cue(IntEnum):
    """A sign that a block of text holds something encoded."""

    PERCENT = 0
    ESCAPE = 1
    SIMPLE_ESCAPE = 2
    TAGS = 3
    BASE64 = 4
    HEX = 5
    BASE32 = 6
    LONG_RUN = 7
    SEPARATED_HEX = 8
    SPACED = 9  # letters that stand apart
    RUN_TOGETHER = 10  # words that do not
    ENTITY = 11
    QUOTED_PRINTABLE = 12
    SELECTORS = 13  # bytes as variation selectors
    BITS = 14  # bits as invisible characters
    COMPRESSED = 15
    TURNED = 16  # by thirteen letters
    REVERSED = 17
    LEET = 18
    OVERRIDDEN = 19  # text that is shown from right to left
    WIDE = 20  # base64 or hex of UTF-16 or UTF-32
    INDICATORS = 21  # letters as halves of flags
    CODES = 22  # characters as numbers
    LABELS = 23  # of a host name, or the like
    LITERALS = 24  # which may be pieces of something: core.text.split_literals
    ACTS = 25  # something that acts: core.commands.effects
    WINDOWS = 26  # a line for PowerShell or cmd: core.commands.powershell


B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
B32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _class(alphabet: str, indices: Iterator[int] | range) -> str:
    letters = {alphabet[index] for index in indices}
    letters |= {{"+": "-", "/": "_"}.get(letter, letter) for letter in letters}
    return "[" + "".join(sorted(re.escape(letter) for letter in letters)) + "]"


# The bytes of plain text are 0x20 to 0x7E, so each letter of its encoding comes from a part of
# the alphabet only (RFC 4648, sections 4 and 6): a run that keeps to those parts for twelve
# characters is hardly ever chance, and it is found at any alignment.
B64_GROUP = (
    _class(B64, range(8, 32))
    + _class(B64, (i for i in range(64) if 2 <= i % 16 <= 7))
    + _class(B64, (i for i in range(64) if i % 4 <= 1))
    + "[A-Za-z0-9+/_-]"
)
B32_GROUP = (
    _class(B32, range(4, 16))
    + _class(B32, (i for i in range(32) if i % 4 <= 1))
    + "[A-Z2-7]"
    + _class(B32, (i for i in range(32) if 2 <= i % 16 <= 7))
    + _class(B32, (i for i in range(32) if i % 2 == 0))
    + _class(B32, range(8, 32))
    + _class(B32, (i for i in range(32) if 1 <= i % 8 <= 3))
    + "[A-Z2-7]"
)
# What stands before a host's name where one is asked for.
HOST = "(?:://|@|: |dig |host |ping |nslookup )"
# Towards a server: the name of an argument or a tool that acts; a value that goes on as a command,
# leads upwards, is an option, or names what holds credentials or is run by itself.
ACTING = (
    r"(?i:(?:command|commandline|cmd|cmds|script|argv|args|shell|bash|code|sql|statements?|query|"
    r"expression|expr|cypher|program|terminal|stdin|keys|formula|exec|run|entrypoint|lambda): "
    r"|name: [a-z0-9_.:/-]{0,40}(?:shell|bash|exec|terminal|console|run|eval|ssh|repl|spawn|cmd)"
    # Each begins with a few letters that are fixed: a class there costs half of a whole pass.
    r"|(?:;|; |\||\| |&|& |\$\(|`|%0a)(?:cat|curl|wget|rm|ncat|nc|bash|sh|zsh|python|perl|id|"
    r"whoami|uname|sleep|ping|nslookup|touch|ls|echo|env|printenv|head|tail|base64|chmod|powershell|cmd|"
    r"reboot|shutdown|kill|dig|ssh|eval|tee|find|node|php|ruby|dir|type|set|sudo|/bin|/usr)"
    r"|\$\{?ifs|: -{1,2}[a-z]|\n-{1,2}[a-z]"
    r"|(?:'|\x22|' |\x22 |\) |\))(?:or |and |union |having |--|/\*|\|\||&& )"
    r"|(?:or|and|union) (?:[0-9]|'|true|select|all)|[0-9] (?:or|and|union|having) |sleep\("
    r"|waitfor |\(select "
    r"|(?:;|; )(?:drop|delete|insert|update|select|truncate|alter|exec|create|shutdown|declare) "
    r"|\.\.[/\\%;]|%2e|%c0|%252|%00|/usr/|/s?bin/|/etc/|/proc/|/sys/|/root|/var/run|/boot|\.ssh|\.aws|\.env|\.kube|"
    r"\.docker|\.netrc|\.npmrc|\.pypirc|\.git|\.gnupg|\.azure|gcloud|id_rsa|id_ed25519|\.pem|\.key|"
    r"\.p12|\.pfx|\.kdbx|\.pgpass|_history|\.[a-z_]{2,8}rc\b|profile\b|/cookies|login data|"
    r"logins\.json|key4\.db|"
    r"keychain|wallet\.|[/ ]credentials?[/.]|secrets?[/.]|tfstate|cron|systemd|launchagents|"
    r"launchdaemons|/startup|"
    r"autostart|mcp\.json|\.cursor|\.claude|\.vscode|system32|ntds|unattend|\\\\\?\\|file:|\x00[a-z./])"
)
OCTAL = "(?:0[4-7]|1[0-7])[0-7]"  # what is printable in ASCII
BETWEEN_HEX = r"[ :,;|/\t\r\n\x22'-]{1,4}"  # what stands between bytes that are written in hex
# A letter of ASCII in UTF-16, as base64 and as hex: of each pair of bytes, one is zero.
WIDE_B64 = (
    _class(B64, range(8, 32))
    + "[AQgw][AB][A-Za-z0-9+/_-]A[C-H]"
    + _class(B64, range(0, 64, 4))
    + "A"
)
WIDER_B64 = _class(B64, range(8, 32)) + "[AQgw]AAA"  # the same in UTF-32
WIDE_HEX = "(?:[2-7][0-9A-Fa-f](?:00){1,3}){6}"
# The number of a printable character.
CODE = "(?:3[2-9]|[4-9][0-9]|1[01][0-9]|12[0-6])"
# Weaker than the expressions of the decoders wherever that makes a much smaller automaton.
CUES: dict[Cue, str] = {
    Cue.PERCENT: "%(?:[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})",
    Cue.ESCAPE: r"\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|U000[0-9A-Fa-f]{5}|[ux]\{[0-9A-Fa-f]{1,5}\}|"
    rf"0000[2-7][0-9A-Fa-f]|0?{OCTAL})",
    Cue.SIMPLE_ESCAPE: r'\\[nrt"\\/]',
    Cue.TAGS: "\\xf3\\xa0[\\x80\\x81]",
    Cue.BASE64: f"(?:{B64_GROUP}){{3}}",
    Cue.HEX: "(?:[2-7][0-9A-Fa-f]){8}",
    Cue.BASE32: "[A-Z2-7]{16}",
    Cue.LONG_RUN: "[A-Za-z0-9+/_-]{40}",
    Cue.SEPARATED_HEX: f"(?:(?:0x)?[2-7][0-9A-Fa-f]{BETWEEN_HEX}){{7}}(?:0x)?[2-7]",
    Cue.SPACED: r"[^A-Za-z0-9](?:[A-Za-z0-9][ ._*|,/-]){5}",
    Cue.RUN_TOGETHER: "[A-Za-z]{20}",
    Cue.ENTITY: "&(?:#[0-9]{2}|#[Xx][0-9A-Fa-f]{2}|[A-Za-z]{2,6};)",
    Cue.QUOTED_PRINTABLE: "(?:=[0-9A-F]{2}[^=\\n]{0,3}){3}|[A-Za-z0-9,.]=\\r?\\n[A-Za-z0-9]",
    Cue.SELECTORS: "\\xf3\\xa0[\\x84-\\x87]|(?:\\xef\\xb8[\\x80-\\x8f]){4}",
    Cue.BITS: "(?:\\xe2\\x81[\\xa2\\xa4]){8}|(?:\\xe2\\x80[\\x8b-\\x8d]){8}",
    Cue.LABELS: rf"{HOST}(?:[A-Za-z0-9_-]{{8,63}}\.[A-Za-z_-]{{0,20}}[0-9][A-Za-z0-9_-]{{4}}|"
    r"[A-Za-z0-9_-]{30,63}\.[A-Za-z0-9_-]{4})",
    Cue.COMPRESSED: "(?:H4sI|eJ[w-z0-9+/_-]|eN[o-r]|eAE|eF[4-7])[A-Za-z0-9+/_-]{20}|"
    "(?:1[Ff]8[Bb]08|78(?:01|5[Ee]|9[Cc]|[Dd][Aa]))[0-9A-Fa-f]{30}",
    Cue.TURNED: word_disguises.TURNED,
    Cue.REVERSED: word_disguises.REVERSED,
    Cue.LEET: word_disguises.LEET,
    Cue.LITERALS: r"[\x22'`](?:[A-Za-z0-9+/=_.-]{0,24}(?:[0-9][A-Za-z]|[A-Za-z][0-9])"
    r"[A-Za-z0-9+/=_.-]{0,60}|[A-Za-z0-9]{1,2})[\x22'`]",
    Cue.ACTS: ACTING,
    Cue.OVERRIDDEN: "\\xe2\\x80\\xae",
    Cue.WIDE: f"(?:{WIDE_B64}){{2}}|(?:{WIDER_B64}[A-Za-z0-9+/_-]{{11}}){{2}}|{WIDE_HEX}",
    Cue.INDICATORS: "\\xf0\\x9f\\x87[\\xa6-\\xbf]",
    Cue.CODES: f"(?:{CODE}[^0-9A-Za-z]{{1,3}}){{5}}|(?i:chr?|char)[(]{CODE}[)]|[(]byte[)] ?{CODE}|"
    f"0b[01]{{8}}|(?:{OCTAL}[^0-9A-Za-z]){{5}}|(?:0[01]{{7}}[^0-9A-Za-z]?){{3}}|U[+]00[2-7][0-9A-Fa-f]",
    Cue.WINDOWS: _WINDOWS,
}
# What only goes to a server can act, or go out by a host's name. They stand last.
OUTGOING_CUES = (Cue.LABELS, Cue.LITERALS, Cue.ACTS, Cue.WINDOWS)
# What is encoded in a text without spaces: there, letters follow each other by chance.
CUES_OF_SQUEEZED = {
    Cue.BASE64: f"(?:{B64_GROUP}){{5}}",
    Cue.HEX: "(?:[2-7][0-9A-Fa-f]){16}",
    Cue.BASE32: f"(?:{B32_GROUP}){{3}}",
    Cue.COMPRESSED: CUES[Cue.COMPRESSED],
    Cue.WIDE: CUES[Cue.WIDE],
}
# Of these the squeezed reading may say something.
SQUEEZED_CUES = (Cue.SPACED, Cue.RUN_TOGETHER)


def worth_squeezing(cued: Mapping[Cue, list[Range]]) -> list[Range]:
    """The ranges of what may be squeezed; of two cues, one is that of an encoding as well."""
    return [found for cue in SQUEEZED_CUES for found in cued.get(cue, ())]
