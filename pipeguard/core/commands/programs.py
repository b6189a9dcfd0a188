"""Programs of a command line: which run others, read, write or send, and their arguments.

Tables, and the few questions about words that answer from them. Knows nothing of what is harmful.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from pipeguard.core.commands.argument_roles import listed
from pipeguard.core.commands.posix_shell import GAP
from pipeguard.core.commands.shell_output import MAX_VALUE

SHELLS = listed("sh bash zsh dash ksh ash fish csh tcsh rbash mksh")
INTERPRETERS = re.compile(
    r"(?:python[0-9.]*|pypy3?|perl[0-9.]*|node|nodejs|ruby|php[0-9.]*|deno|bun|lua|awk|gawk|"
    r"osascript)\Z"
)
# Programs that run another one: their options that take a value, and how many words come first.
WRAPPERS: dict[str, tuple[str, int]] = {
    "sudo": ("ugpCrtUDhRT", 0), "doas": ("uC", 0), "env": ("uC", 0), "nohup": ("", 0),
    "time": ("fo", 0), "timeout": ("sk", 1), "nice": ("n", 0), "ionice": ("cnp", 0),
    "command": ("", 0), "exec": ("a", 0), "builtin": ("", 0), "setsid": ("", 0),
    "stdbuf": ("ioe", 0), "xargs": ("InPdLaEs", 0), "busybox": ("", 0), "toybox": ("", 0),
    "watch": ("n", 0), "chronic": ("", 0), "unbuffer": ("", 0), "proxychains": ("f", 0),
    "proxychains4": ("f", 0), "torsocks": ("", 0), "torify": ("", 0), "taskset": ("", 1),
    "flock": ("wE", 1), "pkexec": ("", 0), "parallel": ("jIN", 0), "strace": ("eopsE", 0),
    "then": ("", 0), "do": ("", 0), "else": ("", 0), "!": ("", 0), "{": ("", 0), "if": ("", 0),
    "elif": ("", 0), "while": ("", 0), "until": ("", 0), "coproc": ("", 0), "trap": ("", 0),
    "start": ("", 0), "rtk": ("", 0), "catchsegv": ("", 0), "chrt": ("", 1), "setarch": ("", 1),
    "faketime": ("", 1), "systemd-run": ("puM", 0), "nocorrect": ("", 0), "noglob": ("", 0),
}  # fmt: skip
READERS = listed(
    "cat bat less more head tail strings xxd hexdump od base64 base32 nl tac sort uniq cut paste "
    "rev fold split tar zip 7z gzip bzip2 xz zstd gpg openssl jq yq source . cp mv scp rsync "
    "rclone install diff cmp comm wc vi vim nano emacs view column iconv dd type gc get-content "
    "md5sum shasum sha256sum uuencode ccat pr expand look dos2unix sqlite3 xargs "
    "keytool plutil defaults mail mutt ftp tftp sftp s3cmd "
    "gsutil azcopy aws mc nc ncat socat readarray mapfile ln curl wget http xclip pbcopy"
)
TELL_ENVIRONMENT = listed("env printenv set export declare typeset compgen")
PATTERN_FIRST = listed("grep egrep fgrep rg ag ack zgrep sed awk gawk perl")
SENDERS = re.compile(
    r"(?:curl|wget|nc|ncat|netcat|socat|ssh|scp|sftp|rsync|rclone|ftp|tftp|lftp|telnet|mail|mailx|"
    r"mutt|sendmail|ssmtp|msmtp|swaks|http|https|xh|aria2c|nslookup|dig|host|ping|drill|kdig|"
    r"gsutil|azcopy|s3cmd|croc|magic-wormhole|wormhole|transfer|termbin|sprunge|pastebinit|gist|"
    r"rsh|websocat|wscat|iodine|dnscat2?|mosquitto_pub|kcat|kafkacat|nats|lynx|w3m|links|httpie|"
    r"whois|finger|busybox-nc|smbclient|cadaver|restic|rustic|borg|duplicity|pscp|plink)\Z"
)
COPIES = listed("scp sftp rsync")
FETCHERS = listed("curl wget http https xh aria2c httpie")
RUN_IN = listed("docker podman kubectl uv poetry npx")
FILE_VALUE = re.compile(r"(?:[\w.\[\]-]{0,60}=)?[@<](?!-\Z)([^\s;,]{1,300})")
LAST_IS_TARGET = listed("cp mv install ln rsync scp")
OPERANDS_LAST = listed("rm chmod chown chgrp shred unlink srm rmdir")
TEARABLE = (
    SHELLS
    | READERS
    | OPERANDS_LAST
    | PATTERN_FIRST
    | listed(
        "curl wget nc ncat netcat socat whoami id uname powershell pwsh cmd ping env eval "
        "exec printenv kill dd mkfs find ls python python3 perl passwd iex"
    )
)
# Files that a pattern of the shell may mean.
FILES = sorted(
    listed(
        "/etc/passwd /etc/shadow /etc/sudoers /etc/gshadow /etc/hosts /bin/sh /bin/bash /bin/cat "
        "/bin/rm /bin/nc /bin/ls /bin/dd /bin/chmod /bin/mv /bin/cp /bin/wget /bin/curl "
        "/bin/base64 "
        "/bin/tail /bin/head /bin/python3 /bin/python /bin/perl /bin/id /bin/env /bin/tac "
        "/bin/zsh "
        "/bin/dash /bin/netcat /bin/ncat /bin/nc.traditional /bin/less /bin/more /bin/xxd "
        "/bin/kill "
        "/usr/bin/curl /usr/bin/wget /usr/bin/cat /usr/bin/nc /usr/bin/base64 /usr/bin/python3 "
        "/usr/bin/perl /usr/bin/id /usr/bin/env /usr/bin/rm /usr/bin/bash /usr/bin/sh "
        "/usr/bin/head "
        "/usr/bin/tail /usr/bin/tac /usr/bin/xxd /usr/bin/ncat /usr/bin/python /usr/bin/find "
        "~/.ssh/id_rsa ~/.ssh/id_ed25519 ~/.aws/credentials ~/.netrc ~/.bash_history ~/.bashrc "
        "/root/.ssh/id_rsa /proc/self/environ /dev/sda /dev/tcp"
    )
)


CLIENTS: dict[str, tuple[str, ...]] = {
    "psql": ("-c", "--command"), "mysql": ("-e", "--execute"), "mariadb": ("-e", "--execute"),
    "sqlite3": (), "redis-cli": (), "mongosh": ("--eval",), "mongo": ("--eval",),
    "clickhouse-client": ("-q", "--query"), "sqlcmd": ("-Q", "-q"), "bq": ("query",),
    "cockroach": ("-e", "--execute"), "snowsql": ("-q",), "duckdb": ("-c",), "cqlsh": ("-e",),
    "influx": ("-execute",), "isql": ("-Q",),
}  # fmt: skip
NARROWS = listed(
    "-name -iname -path -ipath -regex -iregex -wholename -mtime -atime -ctime -mmin -amin -cmin "
    "-size -empty -newer -user -group -perm -links -inum -samefile"
)
DECODERS = listed("base64 base32 xxd openssl rev uudecode gunzip zcat basenc")
UPLOADS = re.compile(
    r"s3\S{0,4} (?:cp|mv|sync|rb)|storage (?:cp|blob|fs|rsync)|gist create|release upload|"
    r"secret set|put-object|copy|cp |push"
)
FILE_OPTION = re.compile(
    r"(?:--(?:post|body|upload)-file=|--data(?:-binary|-raw|-urlencode|-ascii)?=@|"
    r"--form=[\w.-]{0,60}=?@|"
    r"-[dFT](?:[\w.-]{0,60}=)?@?(?=[/~.]))@?([^\s;,]{1,300})"
)


# Programs that core.commands.interpret knows more of than their name and arguments.
_HANDLED = (
    SHELLS
    | READERS
    | PATTERN_FIRST
    | OPERANDS_LAST
    | LAST_IS_TARGET
    | COPIES
    | FETCHERS
    | TELL_ENVIRONMENT
    | RUN_IN
    | CLIENTS.keys()
    | listed("eval su runuser script watch flock find git tee truncate cd gcloud az gh oc")
)


@lru_cache(maxsize=1024)
def is_ordinary(word: str) -> bool:
    """True for a program of which nothing is known, and for a word that is none at all."""
    name = name_of(word)
    return not (
        name in _HANDLED
        or INTERPRETERS.match(name)
        or SENDERS.match(name)
        or name.endswith((".sh", ".py", ".bin"))
    )


@lru_cache(maxsize=4096)
def is_inner(word: str) -> bool:
    """True for a shell or an interpreter, which may stand behind a program that runs it."""
    name = name_of(word)
    return name in SHELLS or INTERPRETERS.match(name) is not None


def tidy(path: str) -> str:
    """A path without detours and without what only says `all that is in it`."""
    path = flat(path[:MAX_VALUE])
    if path.startswith("./") and path[2:3] not in ("", "*", ".", "/"):
        path = path[2:]
    if "/" in path:
        path = re.sub(r"/{2,}", "/", path) if "://" not in path else path
        path = re.sub(r"(?:/\.(?=/|\Z))+", "", path) or "/"
        for _ in range(8):
            shorter = re.sub(r"(\A|/)(?!\.\.?/)[^/~$]{1,80}/\.\.(?:/|\Z)", r"\1", path, count=1)
            if shorter == path:
                break
            path = shorter or "."
        while path.startswith("/../"):
            path = path[3:]
        if path == "/..":
            path = "/"
    everything = re.fullmatch(
        r"(/|.{1,300}?/)(?:\*|\.\*|\.\[!\.\]\*|\.\?\*|\*\.\*|\{,\.\}\*|\.)", path
    )
    if everything:
        path = everything[1]
    return path.rstrip("/") if len(path) > 1 and path.strip("/") else path


def flat(word: str) -> str:
    """A word on a line of words: no space inside."""
    return _SPACE.sub(GAP, word) if _SPACE.search(word) else word


_SPACE = re.compile(r"\s")


@lru_cache(maxsize=1024)  # the same few programs, all day
def name_of(word: str) -> str:
    """The name of a program without its folder, in small letters."""
    name = word
    if not word.startswith("$("):
        name = word.replace("\\", "/").rpartition("/")[2].lower()
    return flat(name.removesuffix(".exe"))


def matched(word: str) -> str:
    """A pattern for file names as the file that it was written for."""
    if not (word.startswith(("/", "~")) and ("?" in word or "[" in word or "*" in word)):
        return word
    if not re.search(r"[?\[]|/[^/*]{0,3}\*[^/*]{1,4}", word) or len(word) > 80:
        return word
    return next((file for file in FILES if fnmatchcase(file, word)), word)


def unwrapped(words: list[str]) -> tuple[list[str], bool]:
    """A command without those that only run it; True where its input becomes arguments."""
    wrapped = False
    for _ in range(12):
        if not words:
            break
        name = name_of(words[0])
        if "=" in words[0] and _ASSIGNS.match(words[0]):
            words = words[1:]
            continue
        if name not in WRAPPERS or len(words) == 1:
            break
        valued, first = WRAPPERS[name]
        if name == "command" and words[1] in ("-v", "-V"):
            break
        wrapped = wrapped or name in ("xargs", "parallel")
        rest = after_options(words[1:], valued)
        while (
            name in ("env", "sudo") and rest and "=" in rest[0] and "/" not in rest[0].split("=")[0]
        ):
            rest = rest[1:]
        if name == "env" and not rest:
            break
        if name == "trap" and rest and " " in rest[0]:
            words = ["sh", "-c", rest[0]]
            break
        words = rest[first:]
    return words, wrapped


_ASSIGNS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def after_options(words: list[str], valued: str) -> list[str]:
    """The words after the options, and the values of those that take one."""
    at = 0
    while at < len(words) and words[at].startswith("-") and len(words[at]) > 1:
        option = words[at]
        at += 1
        if option == "--":
            break
        if not option.startswith("--") and option[-1] in valued and len(option) == 2:
            at += 1
    return words[at:]


def operands(words: list[str], valued: str) -> list[str]:
    """What is left of arguments without options before and between them."""
    found: list[str] = []
    while words:
        rest = after_options(words, valued)
        if found or not rest:
            return found + words
        found, words = rest[:1], rest[1:]
    return found


def without_values(words: list[str]) -> list[str]:
    """The operands of `scp` and its like: a key that is used is not sent."""
    found: list[str] = []
    skip = False
    for word in words:
        if not skip and not word.startswith("-"):
            found.append(word)
        skip = not skip and word in ("-i", "-F", "-o", "-P", "-J", "-e", "-c", "-l", "-S", "-D")
    return found


def script_of(words: list[str]) -> str:
    """What stands behind a shell's `-c`."""
    for at, word in enumerate(words[1:-1], 1):
        if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*|--command", word):
            rest = [one for one in words[at + 1 :] if one != "--"]
            return rest[0] if rest else ""
        if not word.startswith(("-", "+")):
            break
    return ""


def each(words: list[str], options: Sequence[str], act: Callable[[str], None]) -> None:
    """Have each value of some options acted on."""
    for at, word in enumerate(words[1:], 1):
        for option in options:
            if word == option and at + 1 < len(words):
                act(words[at + 1])
            elif option.startswith("--") and word.startswith(option + "="):
                act(word.partition("=")[2])
