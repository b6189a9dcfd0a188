"""Whether a command that is run sends a secret over a network, and whether it logs in with it.

Knows the programs that talk to another machine, and how a script of a shell names what it gives
them. Which words are a secret is for the one who asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pipeguard.core.commands.posix_shell import Effort, Shell
from pipeguard.core.commands.programs import (
    INTERPRETERS,
    SENDERS,
    UPLOADS,
    name_of,
    script_of,
    unwrapped,
)
from pipeguard.core.commands.shell_output import Pipeline, ShellCommand
from pipeguard.core.finding import Confidence
from pipeguard.core.words.notation import word_set
from pipeguard.core.words.programs import CLIENTS, SHELLS

MARK = "pipeguardsecretword"  # for a secret: of letters alone, one word in any language
MAX_SCRIPT = 2**16  # characters that are read of one
MOST_SCRIPTS = 8  # inside each other or side by side

# Programs beside `SENDERS` that name another machine only with one of these among their words.
_WITH: dict[str, re.Pattern[str]] = {
    "git": re.compile(r"\b(?:push|clone|fetch|pull|ls-remote|remote|send-email|archive)\b"),
    "openssl": re.compile(r"\bs_client\b"),
    "aws": UPLOADS, "gcloud": UPLOADS, "az": UPLOADS, "gh": UPLOADS, "oc": UPLOADS, "mc": UPLOADS,
    "kubectl": re.compile(r"\b(?:cp|exec|annotate|label)\b"),
    "getent": re.compile(r"\bhosts\b"), "logger": re.compile(r"-n\b|--server"),
    "npm": re.compile(r"\bpublish\b"),
}  # fmt: skip
_OTHERS = re.compile(
    r"(?:start-bitstransfer|iwr|irm|curlie|grpcurl|ghz|axel|hurl|wget2|dog|doggo|traceroute|tracepath|mtr|nmap|hping3|"
    r"smtp-cli|mpack|telegram-send|ntfy|amqp-publish|sshpass|autossh|mosh|bitsadmin|certutil|"
    r"invoke-(?:webrequest|restmethod)|send-mailmessage|resolve-dnsname|test-netconnection)\Z"
)
# Programs that run what their arguments say, on this machine or in a box on it.
_BOXES = word_set(
    "eval cmd docker podman kubectl nerdctl lxc su runuser script find chroot nsenter"
)
_NAMED = re.compile(
    r"(?:\A|[\s/'\"(;|&])(?:curl|wget|nc|ncat|netcat|socat|ssh|scp|sftp|rsync|ftp|telnet|mail|"
    r"sendmail|nslookup|dig|ping|https?)\s"
)
# What talks to a network in a program of any language.
_IN_CODE = re.compile(
    r"/inet/tcp/|\b(?:requests\.\w+\(|urlopen\(|urlretrieve\(|http\.client|httpx\.|aiohttp\.|urllib3\.|socket\.|"
    r"create_connection\(|smtplib\.|ftplib\.|paramiko\.|fetch\(|axios[.(]|https?\.(?:get|request)\(|"
    r"net\.(?:connect|createConnection|Socket)|dns\.(?:resolve|lookup)|gethostbyname\(|getaddrinfo\(|"
    r"XMLHttpRequest|WebSocket\(|sendBeacon\(|Net::(?:HTTP|FTP|SMTP)|TCPSocket|LWP::|IO::Socket|"
    r"HTTP::Tiny|curl_(?:init|exec)|fsockopen|stream_socket_client|file_get_contents\(\W?https?:|"
    r"Invoke-(?:WebRequest|RestMethod)|Net\.(?:WebClient|Sockets|Http|Mail)|TcpClient|"
    r"Send-MailMessage|Resolve-DnsName|open-uri|mail\(|HttpClient|net/http|http\.Post\w*\()",
    re.IGNORECASE,
)
_ADDRESSED = re.compile(rf"[a-z]://[^\s\"']*{MARK}(?![^\s/\"']*@)")
_DEVICE = re.compile(r"/dev/(?:tcp|udp)/|\\\\[\w.-]+\\")
_HOST = re.compile(r"(?:-h|--host(?:name)?)[ =]?([\w.:-]+)")
_LOCAL = re.compile(r"localhost|127\.[\d.]+|::1|0\.0\.0\.0")
# Before a secret on a command's line: an option by which programs that talk to a server log in.
_LOGS_IN = re.compile(
    r"(?:(?:\A| )sshpass -p ?|(?:\A| )(?:-[paPwW] ?|--pass\w*[ =]|--auth[ =]|--token[ =])"
    r"|-u ?[^\s:,]{0,64}[:,]|://[^\s/?#@]{0,64}:?)\Z"
)
_OF_CLIENTS = ("sshpass", "lftp", "mosquitto_pub", "smbclient", "ldapsearch", *CLIENTS)


def sends(script: str, logs_in: Callable[[str], object]) -> Confidence | None:
    """How sure it is that a script sends what `MARK` stands for in it; None where it stays.

    Args:
        script: a line or a program, in the language of a shell or another one.
        logs_in: tells of what stands before a secret on a line whether it logs in with it.
    """
    if MARK not in script or len(script) > MAX_SCRIPT:
        return Confidence.HIGH if MARK in script else None  # too long to know where it goes
    effort = Effort(len(script))
    surest: Confidence | None = None
    scripts, networked = [script], False
    files: set[str] = set()  # that hold a secret by then
    for at in range(MOST_SCRIPTS):
        if at >= len(scripts):
            break
        nested: list[Pipeline] = []
        pipelines = Shell(nested.extend, effort).pipelines(scripts[at])
        for pipeline in [*pipelines, *nested]:
            lines = [_line(command.words) for command in pipeline]
            said = "\n".join([*lines, *(one.given or "" for one in pipeline)])
            talks = any(map(_talks, (one.words for one in pipeline))) or _reaches(pipeline)
            networked = networked or talks
            if talks and any(file in said for file in files):
                return Confidence.HIGH
            if _ADDRESSED.search(said):
                return Confidence.HIGH
            if MARK in said:
                files.update(file for one in pipeline for _, file in one.redirects if file)
                inner = (script_of(unwrapped(one.words)[0]) for one in pipeline if _is_shell(one))
                scripts += filter(None, inner)
                if talks:
                    found = _as_sent(said, logs_in)
                    surest = found if surest is None else max(surest, found)
    is_cut = effort.is_cut or len(scripts) > MOST_SCRIPTS
    if is_cut or (surest is None and (_IN_CODE.search(script) or _DEVICE.search(script))):
        return Confidence.HIGH
    # A variable or a file may be what another line of it sends.
    return Confidence.MEDIUM if surest is None and networked else surest


def _line(words: Sequence[str]) -> str:
    return " ".join(words)


def _is_shell(command: ShellCommand) -> bool:
    words = unwrapped(command.words)[0]
    return bool(words) and name_of(words[0]) in SHELLS


def _talks(words: list[str]) -> bool:
    """True for a command that talks to another machine."""
    words = unwrapped(words)[0]
    if not words:
        return False
    name, line = name_of(words[0]), _line(words[1:])
    if name in CLIENTS or name == "redis-cli":
        host = _HOST.search(line)
        return "://" in line or (host is not None and _LOCAL.fullmatch(host[1]) is None)
    if name in _WITH:
        return _WITH[name].search(line) is not None
    if name in _BOXES and _NAMED.search(line):
        return True
    if INTERPRETERS.match(name) or name in ("powershell", "pwsh", "cmd"):
        return _IN_CODE.search(line) is not None
    return SENDERS.match(name) is not None or _OTHERS.match(name) is not None


def _reaches(pipeline: Pipeline) -> bool:
    """True where a redirect goes to another machine."""
    return any(_DEVICE.search(target) for one in pipeline for _, target in one.redirects)


def _as_sent(said: str, logs_in: Callable[[str], object]) -> Confidence:
    """Surely, but where a program logs in with it."""
    found = Confidence.MEDIUM
    for place in re.finditer(MARK, said):
        before = said[max(0, place.start() - 96) : place.start()]
        by_option = said.startswith(_OF_CLIENTS) or "-u" in before or "://" in before
        if not (logs_in(before) or (by_option and _LOGS_IN.search(before))):
            found = Confidence.HIGH
    return found
