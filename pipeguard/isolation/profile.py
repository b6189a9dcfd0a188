"""The grants of an isolated server: files, hosts, ports and limits. Grants nothing by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os.path import exists, expanduser, join, normpath, realpath
from typing import NamedTuple

from pipeguard.errors import PolicyError
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.isolation.sensitive import find_holder, sensitive_paths

MEBIBYTE = 1024 * 1024
_UNITS = {"": 1, "k": 1024, "m": MEBIBYTE, "g": 1024 * MEBIBYTE, "t": 1024 * 1024 * MEBIBYTE}
_SIZE = lazy_regex(r"(\d{1,15})\s*([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
HIGHEST_PORT = 65_535
MOST = 2**63 - 1  # of a limit; rlim_t of a signed system
DIGITS = 20  # of a number that may be one; int() refuses texts of thousands
READ_ROOTS, WRITE_ROOTS = "read", "write"
ROOTS = ("", READ_ROOTS, WRITE_ROOTS)  # the later gives more


class ResourceLimits(NamedTuple):
    """The resources that a server may use up; None for no limit.

    Attributes:
        memory: data bytes of one process (RLIMIT_DATA, setrlimit(2)).
        processes: processes and threads of the sandbox together.
        files: open descriptors of one process.
        file_size: bytes of the largest file that it may write.
        cpu: CPU seconds of one process.
        scratch: bytes of its `/tmp`, and again of its home, of `/run` and of `/var/tmp`.
    """

    memory: int | None = 4096 * MEBIBYTE
    processes: int | None = 1024
    files: int | None = 4096
    file_size: int | None = 4096 * MEBIBYTE
    cpu: int | None = None
    scratch: int = 1024 * MEBIBYTE


class Profile(NamedTuple):
    """The grants of one server.

    Attributes:
        read: absolute paths of files and folders that it may read.
        write: absolute paths that it may also change.
        hosts: hosts it may connect to, as written: `api.github.com`, `*.example.com:8443`.
        loopback: TCP ports of this machine's loopback that it may connect to.
        keeps_home: True if its home is kept between runs, in a folder of PipeGuard's.
        roots: READ_ROOTS or WRITE_ROOTS if it is given the client's roots.
        links: of granted paths that are links, the path as written and its target.
        serves_git: True for a git server, which gets the user's name and git settings, and may
            change repositories in its writable folders (run_later).
        named: paths in variables of its entry, which count as paths among its arguments.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    loopback: tuple[int, ...] = ()
    keeps_home: bool = False
    limits: ResourceLimits = ResourceLimits()
    roots: str = ""
    links: tuple[tuple[str, str], ...] = ()
    serves_git: bool = False
    named: tuple[str, ...] = ()

    def with_more(self, other: Profile) -> Profile:
        """Both profiles together; the other's limits count."""
        return Profile(
            _join_unique(self.read, other.read),
            _join_unique(self.write, other.write),
            _join_unique(self.hosts, other.hosts),
            tuple(sorted({*self.loopback, *other.loopback})),
            self.keeps_home or other.keeps_home,
            other.limits,
            max(self.roots, other.roots, key=ROOTS.index),
            tuple(dict.fromkeys((*self.links, *other.links))),
            self.serves_git or other.serves_git,
            _join_unique(self.named, other.named),
        )


def parse_path(text: str, folder: str, home_folder: str) -> str:
    """The absolute path of a grant, `~` and links resolved.

    Args:
        text: as written.
        folder: the base of a relative path.
        home_folder: the user's home.

    Raises:
        PolicyError: there is no such file or folder, the text is empty or not a path, or a link
            leads to a path that must be granted by name.
    """
    if not text:
        raise PolicyError("the path of a file or folder to grant is empty.")
    spelled = written_path(text, folder, home_folder)
    try:
        path = realpath(spelled)
        sensitive = sensitive_paths(home_folder, ())
    except ValueError:  # a NUL, or not text
        raise PolicyError(f"{text!r} is no path.") from None
    except OSError:
        raise PolicyError(f"{text} changed while PipeGuard examined it. Start it again.") from None
    if (holder := find_holder(path, sensitive)) and find_holder(spelled, sensitive) is None:
        raise PolicyError(
            f"{text} leads into {holder}, which has to be named itself: a server may have made that"
            " link. Remove the link, or name the path that it leads to."
        )
    if not exists(path):
        raise PolicyError(
            f"{text}: there is no such file or folder to give the server. Make it first, or leave"
            " it out."
        )
    return path


def written_path(text: str, folder: str, home_folder: str) -> str:
    """The absolute path of a grant as written, with its links."""
    if text == "~" or text.startswith("~/"):
        text = home_folder + text[1:]
    return normpath(join(folder, text))


def short_path(path: str, home_folder: str = "") -> str:
    """A path with `~` for the home folder, by default that of this process."""
    home_folder = home_folder or expanduser("~")
    is_in_home = path == home_folder or path.startswith(f"{home_folder}/")
    return f"~{path[len(home_folder) :]}" if is_in_home else path


def roots_mode(text: str) -> str:
    """Check a mode of granting roots.

    Raises:
        PolicyError: it is not one.
    """
    if text not in ROOTS:
        raise PolicyError(f"--roots {text}: choose from {READ_ROOTS}, {WRITE_ROOTS}.")
    return text


def parse_port(text: str) -> int:
    """A TCP port.

    Raises:
        PolicyError: the text is not a port.
    """
    port = _read_number(text)
    if not 0 < port <= HIGHEST_PORT:
        raise PolicyError(f"{text!r} is not a TCP port: give a number from 1 to {HIGHEST_PORT}.")
    return port


def _read_number(text: str) -> int:
    """A number of at most DIGITS digits; 0 for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else 0


def parse_size(text: str) -> int:
    """A size in bytes, as `512MiB` or `2g`; units are powers of 1024.

    Raises:
        PolicyError: the text is not a size.
    """
    matched = _SIZE.fullmatch(text.strip())
    if matched is None or not int(matched[1]):
        raise PolicyError(f"{text!r} is not a size. Write it as 512MiB or 2GiB.")
    return _bound_number(int(matched[1]) * _UNITS[matched[2].lower()], text)


def parse_count(text: str) -> int:
    """A positive number.

    Raises:
        PolicyError: the text is not a positive number.
    """
    count = _read_number(text)
    if not count:
        raise PolicyError(f"{text!r} is not a positive number.")
    return _bound_number(count, text)


def _bound_number(number: int, text: str) -> int:
    if number > MOST:
        raise PolicyError(f"{text!r} is more than any system can count. Leave the limit out.")
    return number


NAMES = tuple(field.replace("_", "-") for field in ResourceLimits._fields)
_SIZES = {"memory", "file-size", "scratch"}  # of these names; the others are counts
# With less no server starts, or a unit was forgotten: `memory=512` is 512 bytes.
LEAST = {"memory": 16 * MEBIBYTE, "files": 32, "file-size": 65_536, "scratch": 65_536}


def parse_limits(settings: Sequence[str], base: ResourceLimits) -> ResourceLimits:
    """Limits with changes, each as `NAME=VALUE`.

    Raises:
        PolicyError: one has no known name or no valid value, or is too low to start with.
    """
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in NAMES:
            raise PolicyError(
                f"{setting!r} is not a limit. Write one as NAME=VALUE, with {', '.join(NAMES)}."
            )
        limit = parse_size(value) if name in _SIZES else parse_count(value)
        if limit < LEAST.get(name, 1):
            is_bare = name in _SIZES and value.isdigit()
            unit = " bytes, because it has no unit" if is_bare else ""
            least = format_limit(name, LEAST[name])
            raise PolicyError(f"the limit {name}={value}{unit}: a server needs {least} or more.")
        base = base._replace(**{name.replace("-", "_"): limit})
    return base


def format_limit(limit: str, value: int) -> str:
    """A limit as written, `memory=512MiB`."""
    if limit in _SIZES:
        number, unit = split_size(value)
        return f"{limit}={number}{unit}"
    return f"{limit}={value}"


def split_size(count_bytes: int) -> tuple[int, str]:
    """The number and the largest unit that give a size exactly; no unit for bytes."""
    units = ((1024 * MEBIBYTE, "GiB"), (MEBIBYTE, "MiB"), (1024, "KiB"))
    return next(
        ((count_bytes // size, unit) for size, unit in units if count_bytes % size == 0),
        (count_bytes, ""),
    )


def _join_unique(*groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for group in groups for text in group))
