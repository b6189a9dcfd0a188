"""The commands of a text for PowerShell or cmd, with the usual disguises of their names undone.

`DISGUISES` undoes carets and backticks inside words, variables
of the environment, letters by number, formats, sums of strings, and variables that the text itself
sets. Base64 after `-EncodedCommand` is not decoded: a rule stops it whatever it contains. Knows no
rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from pipeguard.firewall.lazy_regex import lazy_regex

MAX_LINE = 3000  # characters
MAX_ROUNDS = 6
MAX_TEXT = 200_000  # characters that variables may make of a text

_COMMAND_END = lazy_regex(r"[;\n]|&&|\|\||(?<=\s)&(?=\s)")
_CALL_OPERATOR = lazy_regex(r"(?:^|(?<=\s))[&.](?=\s)")
_QUOTES = lazy_regex(r"['\"(){}@]")
_BARE = str.maketrans("'\"(){}@", " " * 7)  # the same, for ASCII, for which it is faster
_CHAR = lazy_regex(r"\[char\]\s{0,4}\(?\s{0,4}(0x[0-9a-f]{1,4}|[0-9]{1,5})\s{0,4}\)?", re.I)
_PLUS = lazy_regex(r"(['\"])\s{0,4}\)?\s{0,4}\+\s{0,4}\(?\s{0,4}\1")
_FORMAT = lazy_regex(
    r"['\"]((?:\{\d{1,2}\}[^'\"{}]{0,40}){1,40})['\"]\s{0,4}-f\s{0,4}"
    r"((?:['\"][^'\"]{0,200}['\"]\s{0,4}+,?+\s{0,4}+){1,40}+)",
    re.I,
)
_STRING = lazy_regex(r"'([^']*)'|\"([^\"]*)\"")
_ASSIGNMENT = lazy_regex(r"\$(\w{1,40})\s{0,4}=\s{0,4}(['\"])([^'\"\n]{0,2000})\2")
_VARIABLE = lazy_regex(r"\$\{?(\w{1,40})\b\}?(?!\s{0,4}=)")
_CMD_SET = lazy_regex(r"\bset\s{1,4}\"?(\w{1,40})=([^&|\n\"]{0,400})", re.I)
_CMD_VARIABLE = lazy_regex(r"%(\w{1,40})(?::~(-?\d{1,3})(?:,(-?\d{1,3}))?)?%")
_ENVIRONMENT_VARIABLE = lazy_regex(r"\$env:(\w{1,40})", re.I)
_ENVIRONMENT = {
    "systemroot": "C:\\Windows", "windir": "C:\\Windows", "systemdrive": "C:", "homedrive": "C:",
    "comspec": "C:\\Windows\\System32\\cmd.exe", "userprofile": "~", "homepath": "~", "home": "~",
    "appdata": "~\\AppData\\Roaming", "localappdata": "~\\AppData\\Local", "temp": "C:\\Temp",
    "programdata": "C:\\ProgramData", "programfiles": "C:\\Program Files",
}  # fmt: skip


def is_windows(text: str) -> bool:
    """True where something in a text is for PowerShell or cmd."""
    small = text.lower()
    return any(
        word in small and whole.search(small) for word, whole in (*WINDOWS_WORDS, *WINDOWS_SIGNS)
    )


def windows_lines(text: str) -> list[str]:
    """A line `PS command` for each command, without quotes, brackets and the call operator."""
    lines: list[str] = []
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


def _without_carets(text: str) -> str:
    return re.sub(r"\^(?=\S)", "", text) if re.search(r"\w\^\w", text) else text


def _with_environment(text: str) -> str:
    """Variables of cmd and parts of them, as `%COMSPEC:~0,1%`, and `$env:NAME`, by their values."""
    written, assigned = text, [*_CMD_SET.finditer(text)]
    if "%" in text:
        values = _ENVIRONMENT | {match[1].lower(): match[2].strip() for match in assigned}
        text = _CMD_VARIABLE.sub(partial(_cmd_value, values=values), text)
    if "$" in text:
        text = _ENVIRONMENT_VARIABLE.sub(lambda m: _ENVIRONMENT.get(m[1].lower(), m[0]), text)
    return _CMD_SET.sub(" ", text) if assigned or text != written else text


def _cmd_value(match: re.Match[str], values: dict[str, str]) -> str:
    value = values.get(match[1].lower())
    if value is None:
        return match[0]
    if match[2] is None:
        return value
    rest = value[int(match[2]) :]
    return rest if match[3] is None else rest[: int(match[3])]


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
    values = {match[1].lower(): match[3] for match in _ASSIGNMENT.finditer(text)}
    return _VARIABLE.sub(partial(_quoted_value, values=values), text)[:MAX_TEXT] if values else text


def _quoted_value(match: re.Match[str], values: dict[str, str]) -> str:
    value = values.get(match[1].lower())
    return match[0] if value is None else f"'{value}'"


def _undo_if(sign: str, undo: Callable[[str], str]) -> Callable[[str], str]:
    """Undo a disguise only in texts with the sign that each such disguise has."""
    return lambda text: undo(text) if sign in text else text


# Each makes a text without one disguise; all are tried again while any changes something.
DISGUISES: dict[str, Callable[[str], str]] = {
    "carets": _without_carets,
    "backticks": _undo_if("`", partial(lazy_regex(r"(?<=[\w-])`(?=\w)|`\n").sub, "")),
    "environment": _with_environment,
    "chars": _undo_if("]", partial(_CHAR.sub, _letter)),
    "formats": _undo_if("{", partial(_FORMAT.sub, _format)),
    "sums": _undo_if("+", partial(_PLUS.sub, "")),
    "variables": _undo_if("$", _with_variables),
}


# --- signs ------------------------------------------------------------------------------
# Signs that the arguments of a call do something: commands, statements, paths, PowerShell, cmd.

# Words of PowerShell and cmd, in small letters, each with a pattern for what follows it.
_WINDOWS_WORDS: dict[str, str] = {
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
# Each word with its whole pattern, which begins with fixed letters: `re` finds those fast.
WINDOWS_WORDS = [
    (word, lazy_regex(rf"{re.escape(word)}(?<!\w{re.escape(word)}){rest}"))
    for word, rest in _WINDOWS_WORDS.items()
]
_WINDOWS_MARKS = (
    ("^", r"\w\^\w"),
    ("`", r"\w`[\w-]{1,15}`\w"),
    ("[char", r"\[char"),
    ("[convert", r"\[convert"),
    ("[text.", r"\[text\."),
    ("$env:", r"\$env:"),
    ("-join", r"-join\b"),
    ("+", r"(?:'|\")\s{0,4}\+\s{0,4}['\"]"),
    ("-f", r"\{\d\}['\"]\s{0,4}-f\b"),
    ("%", r"%[a-z]{3,20}(?:%|:)"),
)
WINDOWS_SIGNS = [(sign, lazy_regex(rest)) for sign, rest in _WINDOWS_MARKS]
_ALL_WINDOWS = (
    *(re.escape(word) + rest for word, rest in _WINDOWS_WORDS.items()),
    *dict(_WINDOWS_MARKS).values(),
)
WINDOWS_SIGN = f"(?i:{'|'.join(_ALL_WINDOWS)})"

# The name of an argument or a tool that runs something; a value that goes on as a command, leads
# upwards, is an option, or names a file that contains credentials or is started by the system.
ACTS_SIGN = (
    r"(?i:(?:command|commandline|cmd|cmds|script|argv|args|shell|bash|code|sql|statements?|query|"
    r"expression|expr|cypher|program|terminal|stdin|keys|formula|exec|run|entrypoint|lambda): "
    r"|name: [a-z0-9_.:/-]{0,40}(?:shell|bash|exec|terminal|console|run|eval|ssh|repl|spawn|cmd)"
    # Each begins with fixed letters: a class in their place costs half as much as a whole pass.
    r"|(?:;|; |\||\| |&|& |\$\(|`|%0a)(?:cat|curl|wget|rm|ncat|nc|bash|sh|zsh|python|perl|id|"
    r"whoami|uname|sleep|ping|nslookup|touch|ls|echo|env|printenv|head|tail|base64|chmod|powershell|cmd|"
    r"reboot|shutdown|kill|dig|ssh|eval|tee|find|node|php|ruby|dir|type|set|sudo|/bin|/usr)"
    r"|\$\{?ifs|: -{1,2}[a-z]|\n-{1,2}[a-z]"
    r"|(?:'|\x22|\))[ \t)}+]{0,16}(?:--|/\*|\|\||&&"
    r"|(?:or|and|xor|union|having|order by|group by)[\s'\x22(+/])"
    r"|(?:'|\x22)[ )}]{1,4}"
    r"(?:limit|where|intersect|except|into|for update|returning|detach|return) "
    r"|(?:'|\x22)\s?(?:;{1,3}\s?(?:--|this\.|return|while|var)|#(?:\n|$))|'\)? ?#"
    r"|',\s?(?:[\w.]{1,30}\s?=|\(|\$)|\x22,\s?\x22[\w.]{1,30}\x22\s?: ?\{"
    r"|(?:or|and|union) (?:[0-9]|'|true|select|all)"
    r"|[0-9] (?:or|and|xor|union|having|order by|group by|procedure) |[0-9] ?\|\||sleep\("
    r"|waitfor |\(select |case when|(?:asc|desc) ?--"
    r"|(?:;|; )(?:drop|delete|insert|update|select|truncate|alter|exec|create|shutdown|declare) "
    r"|; ?--"
    r"|\.\.[/\\%;]|%2e|%c0|%252|%00|/usr/|/s?bin/|/etc/|/proc/|/sys/|/root|/var/run|/boot|\.ssh|\.aws|\.env|\.kube|"
    r"\.docker|\.netrc|\.npmrc|\.pypirc|\.git|\.gnupg|\.azure|gcloud|id_rsa|id_ed25519|\.pem|\.key|"
    r"\.p12|\.pfx|\.kdbx|\.pgpass|_history|\.[a-z_]{2,8}rc\b|profile\b|/cookies|login data|"
    r"logins\.json|key4\.db|"
    r"keychain|wallet\.|[/ ]credentials?[/.]|secrets?[/.]|tfstate|cron|systemd|launchagents|"
    r"launchdaemons|/startup|"
    r"autostart|mcp\.json|\.cursor|\.claude|\.vscode|system32|ntds|unattend|\\\\\?\\|file:|\x00[a-z./])"
)
