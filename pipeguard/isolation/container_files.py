"""A view as the mounts of a container: arguments of `podman run`.

The contents of the root folder, which cannot be mounted on, are an image made here from scratch:
links and folders, no file. Containers sort their mounts by depth: of two at one path the later
counts, and a deeper one covers those above it.
"""

import io
import os
import re
import secrets
import socket
import struct
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from os.path import dirname, isdir, join
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from pipeguard.isolation.egress.sockets import DNS_ADDRESS
from pipeguard.isolation.sensitive import is_in_any, is_inside
from pipeguard.isolation.view import FileView, Mount, MountKind, Variables, innermost

NOT_STARTED = 126
STEPS = 500
STEP_SECONDS = 0.02  # for PipeGuard's sockets to be there
_READER = """IFS= read -r end || exit 126
text=
while IFS= read -r line && [ "$line" != "$end" ]; do
text="$text$line
"
done
eval "$text"
"""
COMMAND = ("/usr/bin/env", "-i", "/bin/sh", "-c", _READER)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OF_SHELL = {"PPID", "UID", "EUID", "BASHOPTS", "SHELLOPTS"}  # read-only in a shell


def preamble(
    argv: Sequence[str],
    variables: Variables,
    folder: str,
    *,
    links: Sequence[tuple[str, str]],
    rules: Sequence[str] = (),
) -> bytes:
    """The bytes that are written to the container's input before anything else.

    Args:
        argv: the server's command.
        variables: its environment.
        folder: its working directory.
        links: path and target of links that the shell makes first.
        rules: the paths of Landlock's program and of its rules, if there are any.
    """
    command = " ".join(map(quote, argv))
    if rules:
        # Opened for it by their numbers, which it closes (isolation/_landlock.c). The shell itself
        # has no rules: a server cannot reach what is outside its own.
        program, content = map(quote, rules)
        command = f"{program} 3 4 {command} 3<{content} 4</dev/null"
    end = secrets.token_hex(16)
    lines = [*_lines(variables, folder, links), command, "exit $?"]
    return b"\n".join(os.fsencode(line) for line in (end, *lines, end, ""))


def unsettable(variables: Variables) -> list[str]:
    """Names of variables that no shell can set."""
    return [name for name in variables if not _NAME.fullmatch(name) or name in _OF_SHELL]


def _lines(variables: Variables, folder: str, links: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield "unset text line end PWD OLDPWD SHLVL"
    yield "PATH=/usr/bin:/bin"
    yield from _waiting()
    for path, target in links:
        yield f"mkdir -p -- {quote(dirname(path))}"
        yield f"ln -s -- {quote(target)} {quote(path)}"
    yield f"mkdir -p -- {quote(folder)}"  # in its own home or /tmp
    yield f"cd -- {quote(folder)} || exit {NOT_STARTED}"
    yield "unset PATH PWD OLDPWD n"
    left_out = unsettable(variables)
    for name, value in variables.items():
        if name not in left_out:
            yield f"export {name}={quote(value)}"


def _waiting() -> Iterator[str]:
    """Shell lines that wait for the last of PipeGuard's sockets (proc(5), /proc/net/udp)."""
    address, port = DNS_ADDRESS
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    bound = f"{number:08X}:{port:04X} 00000000:0000 07"
    yield "n=0"
    yield f'until case "$(cat /proc/net/udp)" in *"{bound}"*) true;; *) false;; esac; do'
    yield f'n=$((n+1)); if [ "$n" -gt {STEPS} ]; then'
    yield f"echo 'pipeguard: no network was made for this container' >&2; exit {NOT_STARTED}"
    yield f"fi; sleep {STEP_SECONDS}; done"


MOUNTS = "/proc/self/mountinfo"
_OF_ENGINE = ("/dev", "/proc", "/sys")  # that every engine makes itself
FILES, NOTHING = "files", "nothing"  # in the folder of isolation


class Files(NamedTuple):
    """The files of a container.

    Attributes:
        image: a tar archive of the root folder's contents.
        mounts: the mounts in it, outermost first.
        links: path and target of links that are made when it starts.
    """

    image: bytes
    mounts: tuple[Mount, ...]
    links: tuple[tuple[str, str], ...]


def sort_files(view: FileView, submounts: Sequence[str]) -> Files:
    """Sort a view into the parts of an image, mounts, and links made inside.

    Args:
        view: the server's view.
        submounts: all mount points of this machine. A read-only path is so with everything mounted
            in it, which a container's own read-only option does not ensure.
    """
    last = {mount.path: mount for mount in view.mounts if mount.kind is not MountKind.FOLDER}
    for mount in view.mounts:
        if mount.kind is MountKind.FOLDER and not _is_made_anyway(mount.path, last.values()):
            last[mount.path] = mount
    links = [mount for mount in last.values() if mount.kind is MountKind.LINK]
    mounted = [m for m in last.values() if m.kind is not MountKind.LINK and m.path != "/"]
    mounted += _below(mounted, submounts)
    mounted.sort(key=lambda mount: (mount.path.count("/"), mount.path))
    inside = [link for link in links if innermost(link.path, mounted)]
    ours = [link for link in links if link not in inside]
    return Files(_archive(ours), tuple(mounted), tuple((link.path, link.source) for link in inside))


def submounts_here() -> tuple[str, ...]:
    """All mount points of this machine (proc(5), mountinfo)."""
    with open(MOUNTS, "rb") as file:
        fields = [line.split(b" ")[4] for line in file]
    return tuple(os.fsdecode(field.decode("unicode_escape").encode("latin-1")) for field in fields)


def mount_arguments(mounts: Sequence[Mount], folder: str, scratch: int) -> Iterator[str]:
    """The mounts, as words of a command line.

    Args:
        mounts: of `files_of`.
        folder: of PipeGuard's, for the files that are made.
        scratch: bytes of each folder in memory.
    """
    for mount in mounts:
        if mount.kind is MountKind.EMPTY:
            mode = "1777" if mount.path.endswith("tmp") else "0777"  # it has no other user
            yield from ("--tmpfs", f"{mount.path}:rw,exec,size={scratch},mode={mode},notmpcopyup")
            continue
        words = ["type=bind", f"source={_source(mount, folder)}", f"destination={mount.path}"]
        if mount.kind is not MountKind.WRITE:
            words.append("readonly")
        yield from ("--mount", ",".join(_quoted_field(word) for word in words))


def store_content(folder: str, content: bytes) -> str:
    """The path of a file with this content, made if it does not exist.

    Args:
        folder: PipeGuard's folder.
        content: of the file; determines its name.
    """
    holder = join(folder, FILES)
    path = join(holder, sha256(content).hexdigest())
    if not Path(path).exists():
        os.makedirs(holder, mode=0o700, exist_ok=True)
        made = f"{path}.{os.getpid()}"
        with open(made, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o444)
        os.replace(made, path)
    return path


def _is_made_anyway(path: str, others: Iterable[Mount]) -> bool:
    """True if a folder needs no mount: it exists, or is made for its contents.

    In a writable folder the shell makes it.
    """
    mounted = [mount for mount in others if mount.kind is not MountKind.LINK]
    if path == "/" or is_in_any(path, _OF_ENGINE):
        return True
    holder = innermost(path, mounted)
    in_own = holder and holder.kind in (MountKind.EMPTY, MountKind.WRITE)
    return in_own or any(is_inside(mount.path, path) for mount in others)


def _source(mount: Mount, folder: str) -> str:
    if mount.kind is MountKind.TEXT:
        return store_content(folder, mount.source.encode())
    if mount.kind in (MountKind.FOLDER, MountKind.BARE) or (
        mount.kind is MountKind.HIDDEN and isdir(mount.path)
    ):
        nothing = join(folder, NOTHING, mount.kind.value)
        os.makedirs(nothing, exist_ok=True)
        Path(nothing).chmod(0 if mount.kind is MountKind.HIDDEN else 0o555)
        return nothing
    return os.devnull if mount.kind is MountKind.HIDDEN else mount.source


def _below(mounted: Sequence[Mount], submounts: Sequence[str]) -> Iterator[Mount]:
    """This machine's mount points in readable paths, to be read-only too."""
    hidden = [mount.path for mount in mounted if mount.kind is MountKind.HIDDEN]
    for mount in mounted:
        if mount.kind is not MountKind.READ:
            continue
        for point in submounts:
            if point == mount.source or not is_inside(point, mount.source):
                continue
            path = mount.path + point[len(mount.source.rstrip("/")) :]
            is_covered = is_in_any(path, hidden)
            if not is_covered and innermost(path, mounted) is mount and os.access(point, os.R_OK):
                yield Mount(MountKind.READ, path, point)


def _archive(links: Sequence[Mount]) -> bytes:
    """Return the same bytes for the same links."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for link in sorted(links):
            entry = tarfile.TarInfo(link.path.lstrip("/"))
            entry.type = tarfile.SYMTYPE
            entry.linkname = link.source
            entry.mode = 0o777
            archive.addfile(entry)
    return content.getvalue()


def _quoted_field(word: str) -> str:
    """A field of comma-separated values (RFC 4180)."""
    escaped = word.replace('"', '""')
    return f'"{escaped}"' if any(mark in word for mark in ',"\r\n') else word
