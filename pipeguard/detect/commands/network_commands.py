"""Detects commands that send a secret over a network, or log in with it.

Knows the programs that talk to another machine. Which words are a secret, the caller knows: it has
put `MARK` in their place.
"""

import re
from collections.abc import Callable
from itertools import islice

from pipeguard.detect.commands import posix_shell, shell_command
from pipeguard.detect.commands.programs import (
    CLIENTS,
    INTERPRETERS,
    UPLOADS,
    find_script,
    program_name,
    unwrap_command,
)
from pipeguard.detect.words import programs as lists
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.lazy_regex import lazy_regex

MARK = "pipeguardsecretword"  # stands for a secret: only letters, one word in any language
MAX_SCRIPT = 2**16  # characters that are read of one
MAX_SCRIPTS = 8  # inside each other or side by side
LOGIN_CHARS = 96  # before a secret, in which an option to log in is looked for

# Programs that talk to another machine only with one of these among their words.
_WITH_ARGUMENTS = {
    **dict.fromkeys(lists.UPLOADERS, UPLOADS),
    "git": lazy_regex(r"\b(?:push|clone|fetch|pull|ls-remote|remote|send-email|archive)\b"),
    "openssl": lazy_regex(r"\bs_client\b"),
    "kubectl": lazy_regex(r"\b(?:cp|exec|annotate|label)\b"),
    "getent": lazy_regex(r"\bhosts\b"),
    "logger": lazy_regex(r"-n\b|--server"),
    "npm": lazy_regex(r"\bpublish\b"),
}
_NAMES_SENDER = lazy_regex(rf"(?:\A|[\s/'\"(;|&])(?:{lists.alternatives('NAMED_SENDERS')})\s")
# Calls that talk to a network, in a program of any language.
_IN_CODE = lazy_regex(
    r"""(?ix)/inet/tcp/ | \b(?:
    # Python
    requests\.\w+\( | urlopen\( | urlretrieve\( | http\.client | httpx\. | aiohttp\. | urllib3\.
    | socket\. | create_connection\( | smtplib\. | ftplib\. | paramiko\.
    # JavaScript
    | fetch\( | axios[.(] | https?\.(?:get|request)\( | net\.(?:connect|createConnection|Socket)
    | dns\.(?:resolve|lookup) | gethostbyname\( | getaddrinfo\( | XMLHttpRequest | WebSocket\(
    | sendBeacon\(
    # Ruby, Perl, PHP
    | Net::(?:HTTP|FTP|SMTP) | TCPSocket | LWP:: | IO::Socket | HTTP::Tiny | curl_(?:init|exec)
    | fsockopen | stream_socket_client | file_get_contents\(\W?https?:
    # PowerShell, C#, Go
    | Invoke-(?:WebRequest|RestMethod) | Net\.(?:WebClient|Sockets|Http|Mail) | TcpClient
    | Send-MailMessage | Resolve-DnsName | open-uri | mail\( | HttpClient | net/http
    | http\.Post\w*\(
    )""",
)
_ADDRESSED = lazy_regex(rf"[a-z]://[^\s\"']*{MARK}(?![^\s/\"']*@)")
_DEVICE = lazy_regex(r"/dev/(?:tcp|udp)/|\\\\[\w.-]+\\")
_HOST = lazy_regex(r"(?:-h|--host(?:name)?)[ =]?([\w.:-]+)")
_LOCAL = lazy_regex(r"localhost|127\.[\d.]+|::1|0\.0\.0\.0")
# The option, before a secret, with which a client logs in to its server.
_LOGS_IN = lazy_regex(
    r"(?:(?:\A| )sshpass -p ?|(?:\A| )(?:-[paPwW] ?|--pass\w*[ =]|--auth[ =]|--token[ =])"
    r"|-u ?[^\s:,]{0,64}[:,]|://[^\s/?#@]{0,64}:?)\Z"
)
_LOGGING_IN = "sshpass", "lftp", "mosquitto_pub", "smbclient", "ldapsearch", *CLIENTS


def rate_sending(script: str, logs_in: Callable[[str], object]) -> Confidence | None:
    """Rate how surely a script sends the secret at `MARK`; None if it stays.

    Args:
        script: a line or a program, in the language of a shell or another one.
        logs_in: True if the text before a secret on a line has a program log in with it.
    """
    if MARK not in script:
        return None
    if len(script) > MAX_SCRIPT:
        return Confidence.HIGH  # too long to know its destination
    return _Sending(script, logs_in).confidence()


class _Sending:
    """Follows a secret through a script and the scripts inside it."""

    def __init__(self, script: str, logs_in: Callable[[str], object]) -> None:
        self._scripts = [script]
        self._logs_in = logs_in
        self._budget = shell_command.ScriptBudget(len(script))
        self._surest: Confidence | None = None
        self._files: set[str] = set()  # that contain the secret at this point
        self._is_networked = False  # a command contacts another machine, with any data

    def confidence(self) -> Confidence | None:
        script = self._scripts[0]
        for each in islice(self._scripts, MAX_SCRIPTS):  # which grows
            nested: list[shell_command.Pipeline] = []
            pipelines = posix_shell.Shell(nested.extend, self._budget).pipelines(each)
            if any(self._surely_sends(pipeline) for pipeline in [*pipelines, *nested]):
                return Confidence.HIGH
        is_cut = self._budget.is_exceeded or len(self._scripts) > MAX_SCRIPTS
        if is_cut or (self._surest is None and (_IN_CODE.search(script) or _DEVICE.search(script))):
            return Confidence.HIGH
        # Another line of it may send a variable or a file.
        is_likely = self._surest is None and self._is_networked
        return Confidence.MEDIUM if is_likely else self._surest

    def _surely_sends(self, pipeline: shell_command.Pipeline) -> bool:
        """True if a pipeline sends the secret; else note its use of the secret."""
        lines = [" ".join(command.words) for command in pipeline]
        text = "\n".join([*lines, *(command.stdin or "" for command in pipeline)])
        targets = [target for command in pipeline for _, target in command.redirects]
        talks = any(_talks(each.words) for each in pipeline) or any(map(_DEVICE.search, targets))
        self._is_networked = self._is_networked or talks
        if _ADDRESSED.search(text) or (talks and any(file in text for file in self._files)):
            return True
        if MARK in text:
            self._files.update(filter(None, targets))
            for command in pipeline:
                words = unwrap_command(command.words)[0]
                is_shell = words and program_name(words[0]) in lists.SHELLS
                if is_shell and (script := find_script(words)):
                    self._scripts.append(script)
            if talks:
                confidence = _confidence_of_sent(text, self._logs_in)
                self._surest = max(self._surest or confidence, confidence)
        return False


def _talks(words: list[str]) -> bool:
    """True for the words of a command that talks to another machine."""
    words = unwrap_command(words)[0]
    if not words:
        return False
    name = program_name(words[0])
    line = " ".join(words[1:])
    if name in CLIENTS or name == "redis-cli":
        host = _HOST.search(line)
        return "://" in line or (host is not None and _LOCAL.fullmatch(host[1]) is None)
    if name in _WITH_ARGUMENTS:
        return _WITH_ARGUMENTS[name].search(line) is not None
    if name in lists.RUNNERS and _NAMES_SENDER.search(line):
        return True
    if INTERPRETERS.match(name) or name in ("powershell", "pwsh", "cmd"):
        return _IN_CODE.search(line) is not None
    return name in lists.SENDERS or name in lists.OTHER_SENDERS


def _confidence_of_sent(text: str, logs_in: Callable[[str], object]) -> Confidence:
    """High, or medium if a program logs in with each of the secrets in a text."""
    for place in re.finditer(MARK, text):
        before = text[max(0, place.start() - LOGIN_CHARS) : place.start()]
        by_option = text.startswith(_LOGGING_IN) or "-u" in before or "://" in before
        if not (logs_in(before) or (by_option and _LOGS_IN.search(before))):
            return Confidence.HIGH
    return Confidence.MEDIUM
