"""The commands of a text for PowerShell or cmd, with the usual disguises of their names undone.

`DISGUISES` undoes carets and backticks inside words, `$env:NAME`, letters by number, formats, sums
of strings, and variables that a text for PowerShell itself sets. Base64 after `-EncodedCommand` is
not decoded: a rule stops it whatever it contains. Knows no rules.
"""

import re
from collections.abc import Callable
from functools import partial

from pipeguard.detect.words import alternatives
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_LINE = 3000  # characters
MAX_ROUNDS = 6
MAX_TEXT = 200_000  # characters that variables may make of a text

_COMMAND_END = lazy_regex(r"[;\n]|&&|\|\||(?<=\s)&(?=\s)")
_CALL_OPERATOR = lazy_regex(r"(?:^|(?<=\s))[&.](?=\s)")
_QUOTES = lazy_regex(r"['\"(){}@]")
_BARE = str.maketrans("'\"(){}@", " " * 7)  # the same, for ASCII, for which it is faster
_CHAR = lazy_regex(r"(?i)\[char\]\s{0,4}\(?\s{0,4}(0x[0-9a-f]{1,4}|[0-9]{1,5})\s{0,4}\)?")
_PLUS = lazy_regex(r"(['\"])\s{0,4}\)?\s{0,4}\+\s{0,4}\(?\s{0,4}\1")
_FORMAT = lazy_regex(
    r"(?i)['\"]((?:\{\d{1,2}\}[^'\"{}]{0,40}){1,40})['\"]\s{0,4}-f\s{0,4}"
    r"((?>(?:['\"][^'\"]{0,200}['\"]\s{0,4}+,?+\s{0,4}+){1,40}))",
)
_STRING = lazy_regex(r"'([^']*)'|\"([^\"]*)\"")
_ASSIGNMENT = lazy_regex(r"\$(\w{1,40})\s{0,4}=\s{0,4}(['\"])([^'\"\n]{0,2000})\2")
_VARIABLE = lazy_regex(r"\$\{?(\w{1,40})\b\}?(?!\s{0,4}=)")


def is_windows(text: str) -> bool:
    """True if something in a text is for PowerShell or cmd."""
    small = text.lower()
    return any(
        word in small and whole.search(small) for word, whole in (*WINDOWS_WORDS, *WINDOWS_SIGNS)
    )


def windows_lines(text: str) -> list[str]:
    """A line `PS command` for each command, without quotes, brackets and the call operator."""
    lines = []
    for command in _COMMAND_END.split(_undisguise(text)):
        bare = command.translate(_BARE) if command.isascii() else _QUOTES.sub(" ", command)
        if "&" in bare or "." in bare:
            bare = _CALL_OPERATOR.sub(" ", bare)
        words = " ".join(bare.split())
        if words:
            lines.append(f"PS {words[:MAX_LINE]}")
    return lines


def _undisguise(text: str) -> str:
    for _ in range(MAX_ROUNDS):
        before = text
        for undo in DISGUISES.values():
            text = undo(text)
        if text == before:
            break
    return text


def _letter(match: re.Match[str]) -> str:
    number = match[1]
    code = int(number, 16 if number[:2].lower() == "0x" else 10)
    return f"'{chr(code)}'" if 0 < code < 0xD800 else "''"


def _format(match: re.Match[str]) -> str:
    values = [single or double for single, double in _STRING.findall(match[2])]
    text = re.sub(
        r"\{(\d{1,2})\}", lambda m: values[int(m[1])] if int(m[1]) < len(values) else "", match[1]
    )
    return f"'{text}'"


def _with_variables(text: str) -> str:
    """Variables that the text sets, as strings."""
    values = {match[1].lower(): f"'{match[3]}'" for match in _ASSIGNMENT.finditer(text)}
    quoted = _VARIABLE.sub(lambda name: values.get(name[1].lower(), name[0]), text)
    return quoted[:MAX_TEXT] if values else text


def _undo_if(sign: str, undo: Callable[[str], str]) -> Callable[[str], str]:
    """Undo a disguise only in texts with the sign that each such disguise has."""
    return lambda text: undo(text) if sign in text else text


# Each makes a text without one disguise; all are tried again while any changes something.
DISGUISES: dict[str, Callable[[str], str]] = {
    "carets": lambda text: re.sub(r"\^(?=\S)", "", text) if re.search(r"\w\^\w", text) else text,
    "backticks": _undo_if("`", partial(lazy_regex(r"(?<=[\w-])`(?=\w)|`\n").sub, "")),
    "chars": _undo_if("]", partial(_CHAR.sub, _letter)),
    "formats": _undo_if("{", partial(_FORMAT.sub, _format)),
    "sums": _undo_if("+", partial(_PLUS.sub, "")),
    "variables": _undo_if("$", _with_variables),
}


# --- signs ------------------------------------------------------------------------------
# Signs that the arguments of a call do something: commands, statements, paths, PowerShell, cmd.

# Words of PowerShell and cmd, in small letters, each with a pattern for what follows it.
_WORD_PATTERNS = r"""
    powershell pwsh cmd(?:\.exe)?\s{1,4}/ iex\b irm\b iwr\b invoke-\w new-object\b remove-item\b
    get-content\b get-childitem\b set-\w add-\w start-\w stop-\w clear-\w disable-\w new-\w
    register-\w import-module\b copy-item\b format-volume\b certutil\b bitsadmin\b mshta\b
    rundll32\b regsvr32\b wmic\b vssadmin\b bcdedit\b wbadmin\b schtasks\b diskpart\b takeown\b
    icacls\b netsh\b wevtutil\b cscript\b wscript\b msiexec\b
    reg(?:\.exe)?\s{1,4}(?:add|save|delete|query|export)
    net1?(?:\.exe)?\s{1,4}(?:user|localgroup|stop|use) sc(?:\.exe)?\s{1,4}\w rd\s{1,4}/
    rmdir\s{1,4}/ del\s{1,4}/ erase\s{1,4}/ format\s{1,4}[a-z]: cipher\s{1,4}/w ri\s{1,4}-
    rm\s{1,4}-rec procdump\b ntdsutil\b esentutl\b cmdkey\b vaultcmd\b mimikatz sekurlsa
    get-disk\b gci\b saps\b
"""
_WORD = lazy_regex("[a-z-]+(?:32)?")
# Each word with its whole pattern, which begins with fixed letters: `re` finds those fast.
WINDOWS_WORDS = [
    (
        word[0],
        lazy_regex(rf"{re.escape(word[0])}(?<!\w{re.escape(word[0])}){pattern[word.end() :]}"),
    )
    for pattern in _WORD_PATTERNS.split()
    if (word := _WORD.match(pattern))
]
# Signs of both, each with the pattern that it is part of.
_SIGN_PATTERNS = {
    "^": r"\w\^\w",
    "`": r"\w`[\w-]{1,15}`\w",
    "[char": r"\[char",
    "[convert": r"\[convert",
    "[text.": r"\[text\.",
    "$env:": r"\$env:",
    "-join": r"-join\b",
    "+": r"(?:'|\")\s{0,4}\+\s{0,4}['\"]",
    "-f": r"\{\d\}['\"]\s{0,4}-f\b",
    "%": "%[a-z]{3,20}(?:%|:)",
}
WINDOWS_SIGNS = [(sign, lazy_regex(pattern)) for sign, pattern in _SIGN_PATTERNS.items()]
WINDOWS_SIGN = f"(?i:{'|'.join((alternatives(_WORD_PATTERNS), *_SIGN_PATTERNS.values()))})"
# The name of an argument or a tool that runs something; a value that goes on as a command, leads
# upwards, is an option, or names a file that contains credentials or is started by the system.
# Each begins with fixed letters: a class in their place costs half as much as a whole pass.
_ACTS = r"""
    (?:command|commandline|cmd|cmds|script|argv|args|shell|bash|code|sql|statements?|query|expression|expr|cypher|program|terminal|stdin|keys|formula|exec|run|entrypoint|lambda):\x20
    (?:command|cmd|script|sql|statement|exec|shell|run)s?(?:["']\s{0,4}:|\s{0,4}=|>)
    name:\x20[a-z0-9_.:/-]{0,40}(?:shell|bash|exec|terminal|console|run|eval|ssh|repl|spawn|cmd)
    (?:;|;\x20|\||\|\x20|&|&\x20|\$\(|`|%0a)(?:cat|curl|wget|rm|ncat|nc|bash|sh|zsh|python|perl|id|whoami|uname|sleep|ping|nslookup|touch|ls|echo|env|printenv|head|tail|base64|chmod|powershell|cmd|reboot|shutdown|kill|dig|ssh|eval|tee|find|node|php|ruby|dir|type|set|sudo|/bin|/usr)
    \$\{?ifs :\x20-{1,2}[a-z] \n-{1,2}[a-z]
    (?:'|\x22|\))[\x20\t)}+]{0,16}(?:--|/\*|\|\||&&|(?:or|and|xor|union|having|order\x20by|group\x20by)[\s'\x22(+/])
    (?:'|\x22)[\x20)}]{1,4}(?:limit|where|intersect|except|into|for\x20update|returning|detach|return)\x20
    (?:'|\x22)\s?(?:;{1,3}\s?(?:--|this\.|return|while|var)|#(?:\n|$)) '\)?\x20?#
    ',\s?(?:[\w.]{1,30}\s?=|\(|\$) \x22,\s?\x22[\w.]{1,30}\x22\s?:\x20?\{
    (?:or|and|union)\x20(?:[0-9]|'|true|select|all)
    [0-9]\x20(?:or|and|xor|union|having|order\x20by|group\x20by|procedure)\x20 [0-9]\x20?\|\|
    sleep\( waitfor\x20 \(select\x20 case\x20when (?:asc|desc)\x20?--
    (?:;|;\x20)(?:drop|delete|insert|update|select|truncate|alter|exec|create|shutdown|declare)\x20
    ;\x20?-- \.\.[/\\%;] %2e %c0 %252 %00 /usr/ /s?bin/ /etc/ /proc/ /sys/ /root /var/run /boot
    \.ssh \.aws \.env \.kube \.docker \.netrc \.npmrc \.pypirc \.git \.gnupg \.azure gcloud
    id_rsa id_ed25519 \.pem \.key \.p12 \.pfx \.kdbx \.pgpass _history \.[a-z_]{2,8}rc\b
    profile\b /cookies login\x20data logins\.json key4\.db keychain wallet\.
    [/\x20]credentials?[/.] secrets?[/.] tfstate cron systemd launchagents launchdaemons /startup
    autostart mcp[\w.-]{0,30}\.(?:json|ya?ml|toml) mcpservers \.cursor \.claude \.vscode
    claude_desktop opencode crush\.json kilo\.json librechat /agents/ settings\.(?:json|local)
    config\.(?:json|ya?ml|toml) pipeguard policy[\w-]{0,20}\.ya?ml bypasspermissions /\.config
    /\.local xdg_ appdata system32 ntds unattend \\\\\?\\ file: \x00[a-z./] \\u00[2-7] setup\.py
    conftest\.py customize\.py noxfile\.py build\.rs gulpfile \.config\.[cm]?[jt]s \.gemspec
"""
ACTS_SIGN = f"(?i:{alternatives(_ACTS)})"
