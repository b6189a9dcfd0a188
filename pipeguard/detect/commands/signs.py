"""Signs that the arguments of a call do something: commands, statements, paths, PowerShell, cmd.

Hyperscan searches for them in the same pass as for the rules, so that detect.commands.effects reads
only calls with a sign. Only patterns are here.
"""

from __future__ import annotations

import re

from pipeguard.firewall.lazy_regex import lazy_regex

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
