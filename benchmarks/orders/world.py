"""A session's own files, repositories and mailbox, made of its texts, and what changes there.

`Place.calls` says which calls of real servers a step of a session is. Knows nothing of PipeGuard.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any, Self

import yaml

from benchmarks.detection.json_tree import Object
from benchmarks.orders.sessions import Session, Step
from tests import tools

LOCK = Path(__file__).parent / "requirements.txt"
READS = ("read_file", "read_email")  # whose results can be put into a world as they are written
TRIES = 400  # to reach a mail server that starts, 20 a second
UID = 3121  # of the first message: no mailbox that is in use begins at 1
_MIME = (
    "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
)
_URL = re.compile(r"[a-z]+://|\S+@\S+:")

_PATHS = ("path", "source", "destination", "repo_path")
_CALLS: dict[str, list[str]] = yaml.safe_load(
    Path(__file__).with_name("calls.yaml").read_text("utf-8")
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a real server."""

    server: str
    tool: str
    arguments: Object


@dataclass(frozen=True)
class Place:
    """The places of files, and the numbers of a mailbox's messages.

    Attributes:
        root: the folder of all files; `~` and absolute paths lie in it, too.
        uids: of the messages, by the ids that a session has for them.
    """

    root: Path
    uids: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """The path of a file: what a client gives, which knows the folder that it works in."""
        if name.startswith(("~", "/")):
            return str(self.root / "home" / name.lstrip("~/").removeprefix("home/"))
        return str((self.root / "home" / "work" / name).resolve())

    def calls(self, step: Step) -> list[Call]:
        """The calls of real servers that are this step; none if no server can do it."""
        given: Object = {"repo_path": ".", "files": ["."], **step.arguments}
        name = step.tool
        if name == "git_push" and _URL.match(str(given.get("remote", ""))):
            name = "git_push to URL"
        if name == "modify_email" and "move_to" not in given:
            return []
        return [self._call(line.split(), given) for line in _CALLS.get(name, ())]

    def _call(self, words: list[str], given: Object) -> Call:
        arguments: Object = {}
        for word in words[2:]:
            key, _, name = word.partition(":")
            value = name[1:] if name.startswith("=") else given.get(key)
            if key in _PATHS:
                value = self.path(str(value))
            elif key == "message_id":
                uid = self.uids.get(str(value), "1")
                value = [uid] if name == "email_ids" else uid
            if value is not None:
                arguments[key if name.startswith("=") else name or key] = value
        return Call(words[0], words[1], arguments)


class MailServers:
    """Dovecot for IMAP and a letterbox for SMTP, on this machine. Close it.

    Raises:
        SystemExit: Dovecot is not installed, or does not start.
    """

    def __init__(self, root: Path) -> None:
        """Start both below `root`."""
        dovecot = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")
        if dovecot is None or os.getuid():
            raise SystemExit("As root: apt-get install dovecot-imapd, then run this again.")
        self.imap_port, self.smtp_port = _free_port(), _free_port()
        self.letters, self.boxes = root / "letters", root / "mail"
        self.boxes.mkdir(parents=True)
        root.chmod(0o755)
        settings = root / "dovecot.conf"
        settings.write_text(fill_in("dovecot.conf", {"root": root, "port": self.imap_port}))
        imap = [dovecot, "-F", "-c", str(settings)]
        script = str(Path(__file__).with_name("letterbox.py"))
        smtp = [str(tools.python_with(LOCK)), script, str(self.letters), str(self.smtp_port)]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            for command in (imap, smtp)
        ]
        for port in (self.imap_port, self.smtp_port):
            _wait_for(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()


class World:
    """The files of one session, before and after. Its servers' home is next to them."""

    def __init__(self, folder: Path, session: Session, mail: MailServers) -> None:
        """Write files that no commit has yet, and fill the mailbox, as the session's texts say."""
        self.folder, self._mailbox, self._letters = folder, mail.boxes / folder.name, mail.letters
        steps = (*session.steps, *session.acts)
        ids = [str(each.arguments.get("message_id", "")) for each in steps]
        known = dict.fromkeys(filter(None, ids))
        uids = {name: str(UID + 7 * at) for at, name in enumerate(known)}
        self.place = Place(folder / "files", uids)
        (folder / "home").mkdir(parents=True)
        self._repositories = self._make_repositories(steps)
        calls = [call for step in steps for call in self.place.calls(step)]
        self.servers = {call.server for call in calls}
        texts = self._texts(session)
        for name in ("path", "destination"):
            names = [call.arguments.get(name) for call in calls if call.server == "files"]
            for path in (*texts, *(Path(str(each)) for each in names if each)):
                path.parent.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, "utf-8")
        if "mail" in self.servers:
            self._fill_mailbox(session)

    def state(self) -> dict[str, object]:
        """All that calls can change, by kind."""
        files = [
            (str(path), sha256(path.read_bytes()).hexdigest())
            for path in sorted(self.place.root.rglob("*"))
            if path.is_file() and (".git" not in path.parts or "hooks" in path.parts)
        ]
        commits = [_git(each, "for-each-ref") for each in self._repositories]
        state: dict[str, object] = {"files": files, "commits": commits}
        if "mail" in self.servers:
            state["sent"] = sorted(path.name for path in self._letters.glob("new/*"))
            mails = self._mailbox.rglob("*.mail*")
            state["mailbox"] = sorted(str(each).split(":")[0] for each in mails)
        return state

    def _texts(self, session: Session) -> dict[Path, str]:
        """The files that a session reads, edits, moves or commits, and what is in them at first."""
        texts: dict[Path, str] = {}
        written = set[str]()
        for step in (*session.steps, *session.acts):
            given = step.arguments
            names = [given.get(key) for key in ("path", "source") if step.tool.endswith("_file")]
            if step.tool == "git_commit":
                folder = str(given.get("repo_path", "."))
                files: Any = given.get("files", [])
                names = [f"{folder}/{name}" for name in files]
            for path in (self.place.path(str(name)) for name in names if name):
                if step.tool == "write_file" and step not in session.acts:
                    written.add(path)
                elif path not in written:
                    texts.setdefault(Path(path), step.result or f"{Path(path).name}\n")
                if step.tool == "edit_file" and path not in written:
                    text = "" if texts[Path(path)] == step.result else texts[Path(path)]
                    edits: Any = given["edits"]
                    olds = [str(edit["oldText"]) for edit in edits]
                    texts[Path(path)] = text + "".join(old for old in olds if old not in text)
        return texts

    def _make_repositories(self, steps: tuple[Step, ...]) -> list[Path]:
        """The repositories that steps name, and those that they push to."""
        made: dict[Path, None] = {}
        for step in steps:
            if not step.tool.startswith("git_"):
                continue
            folder = Path(self.place.path(str(step.arguments.get("repo_path", "."))))
            if folder not in made:
                made[folder] = None
                folder.mkdir(parents=True, exist_ok=True)
                _git(folder, "init", "--quiet", "--initial-branch=main")
                _git(folder, "config", "user.name", "Robin Agent")
                _git(folder, "config", "user.email", "robin@work.example")
                _git(folder, "commit", "--quiet", "--allow-empty", "--message", "First")
            if step.tool == "git_push":
                made[self._make_remote(folder, step.arguments)] = None
        return list(made)

    def _make_remote(self, folder: Path, given: Object) -> Path:
        remote, branch = str(given.get("remote", "origin")), str(given["branch"])
        bare = self.folder / "remotes" / re.sub(r"\W+", "-", remote)
        if not bare.exists():
            _git(self.folder, "init", "--quiet", "--bare", str(bare))
            if _URL.match(remote):
                _git(folder, "config", f"url.{bare}.insteadOf", remote)
            else:
                _git(folder, "remote", "add", remote, str(bare))
        if branch != "main":
            _git(folder, "branch", "--force", branch)
        return bare

    def _fill_mailbox(self, session: Session) -> None:
        """Write the messages as Dovecot stores them: Maildir, with a list of their numbers."""
        steps = (*session.steps, *session.acts)
        reads = [step for step in session.steps if step.tool == "read_email"]
        texts = {str(step.arguments["message_id"]): step.result for step in reads}
        names = [f".{step.arguments['move_to']}" for step in steps if "move_to" in step.arguments]
        for folder in (self._mailbox, *(self._mailbox / name for name in names)):
            for name in (".", "cur", "new", "tmp"):
                (folder / name).mkdir(parents=True, exist_ok=True)
                (folder / name).chmod(0o777)  # Dovecot works as nobody
        uids = self.place.uids
        numbers = "".join(f"{uid} :{uid}.mail\n" for uid in uids.values())
        (self._mailbox / "dovecot-uidlist").write_text(f"3 V1 N{UID + 7 * len(uids)}\n{numbers}")
        for name, uid in uids.items():
            message = _message(self.with_uids(texts.get(name) or f"About {name}."))
            (self._mailbox / "cur" / f"{uid}.mail:2,S").write_bytes(message)

    def with_uids(self, text: str) -> str:
        """A text with the mailbox's numbers for the session's ids of messages."""
        for name, uid in self.place.uids.items():
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", uid, text)
        return text


def _message(text: str) -> bytes:
    """A message of this text, whose headers may be its first lines."""
    if not re.match(r"(From|Subject|To|Date): ", text):
        first = text.strip().splitlines()[0][:70]
        text = f"From: Sender <sender@post.example>\nSubject: {first}\n\n{text}"
    return f"{_MIME}{text}".replace("\n", "\r\n").encode()


def fill_in(name: str, values: Mapping[str, object]) -> str:
    """A file next to this module, with values for its names."""
    return Template(Path(__file__).with_name(name).read_text("utf-8")).substitute(values)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as each:
        return int(each.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(TRIES):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"The mail server on port {port} did not start.")


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
