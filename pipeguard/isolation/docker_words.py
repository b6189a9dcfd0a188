"""The words of `docker run` and `podman run`, read strictly: what is not in a table is refused.

docs.docker.com/reference/cli/docker/container/run and podman-run(1). What an option means for
isolation is in `docker_servers`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PROGRAMS = ("docker", "podman")
OTHER_NAMES = {"--net": "--network", "--net-alias": "--network-alias"}
_SHORT = (
    "-a --attach -c --cpu-shares -e --env -h --hostname -i --interactive -l --label -m"
    " --memory -q --quiet -t --tty -u --user -v --volume -w --workdir"
)
# The options that an isolated container may have; every other is refused.
# Without a value, or with `=true` or `=false`:
_FLAGS = (
    "--disable-content-trust --http-proxy --init --interactive --no-healthcheck --no-hosts"
    " --passwd --quiet --read-only --read-only-tmpfs --replace --rm --rmi --sig-proxy"
    " --tls-verify --tty --unsetenv-all"
)
_VALUES = (
    "--add-host --arch --attach --cap-drop --cgroupns --cpu-period --cpu-quota --cpu-shares"
    " --cpus --cpuset-cpus --cpuset-mems --dns --dns-option --dns-search --domainname"
    " --entrypoint --env --env-file --env-merge --expose --health-interval --health-on-failure"
    " --health-retries --health-start-interval --health-start-period --health-timeout"
    " --hostname --image-volume --ip --ip6 --ipc --label --label-file --log-driver --log-opt"
    " --mac-address --memory --memory-reservation --memory-swap --memory-swappiness --mount"
    " --name --network --network-alias --os --pid --pids-limit --platform --pull --restart"
    " --secret --security-opt --shm-size --stop-signal --stop-timeout --timeout --tmpfs --tz"
    " --ulimit --umask --unsetenv --user --userns --uts --variant --volume --workdir"
)


def split_words(text: str) -> frozenset[str]:
    """The words of a table."""
    return frozenset(text.split())


SHORT = dict(zip(_SHORT.split()[::2], _SHORT.split()[1::2], strict=True))
FLAGS, VALUES = split_words(_FLAGS), split_words(_VALUES)
# Before `run`: nothing there changes what a container may reach.
GLOBAL_VALUES = split_words("--config --log-level -l")
GLOBAL_FLAGS = split_words("--debug -D --tls --tlsverify")
# These choose who runs it: `-c` is docker's --context and podman's --connection, `-r` --remote.
_ELSEWHERE = split_words("--host -H --context -c --remote -r --url --connection")
_CHOOSERS = ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINER_CONNECTION")
_HERE = ("", "default")  # contexts of this machine


class Option(NamedTuple):
    """One option of `run`.

    Attributes:
        name: its long name.
        value: as written; `true` or `false` of a flag.
        words: as they stand in the command.
    """

    name: str
    value: str
    words: str


class ContainerRun(NamedTuple):
    """A `docker run` or `podman run`.

    Attributes:
        start: the program and what stands before the options of `run`, with `run`.
        options: of `run`.
        rest: the image, its command and its arguments.
    """

    start: tuple[str, ...]
    options: tuple[Option, ...]
    rest: tuple[str, ...]


def is_of_containers(argv: Sequence[str]) -> bool:
    """True if a command starts docker or podman."""
    return _program_name(argv[0]).removesuffix(".exe") in PROGRAMS


def _program_name(program: str) -> str:
    return os.path.basename(program)


def parse_run(argv: Sequence[str]) -> ContainerRun:
    """Read a command of docker or podman.

    Raises:
        PolicyError: it is no `run`, or has an option that is not known here.
    """
    place = _after_global(argv)
    length = 2 if tuple(argv[place : place + 2]) == ("container", "run") else 1
    if tuple(argv[place + length - 1 : place + length]) != ("run",):
        what = " ".join((_program_name(argv[0]), *argv[place : place + 1]))
        raise PolicyError(
            f"{what}: only a server of `docker run` or `podman run` can be isolated: its own words"
            " say what it may reach. To run it without isolation: --isolate none."
        )
    start = place + length
    options, end = _options(argv, start)
    if end >= len(argv):
        raise PolicyError(f"{' '.join(argv[:start])}: it names no image.")
    return ContainerRun(tuple(argv[:start]), options, tuple(argv[end:]))


def refuse_elsewhere(variables: Mapping[str, str]) -> None:
    """Refuse variables by which docker or podman has another machine run the container.

    Raises:
        PolicyError: one of them does; a socket of this machine does not.
    """
    for name in _CHOOSERS:
        value = variables.get(name, "")
        if value not in _HERE and not value.startswith("unix://"):
            raise _elsewhere(name)


def mount_fields(text: str) -> Iterator[tuple[str, str]]:
    """The fields of `--mount`, comma-separated values (RFC 4180), names in lower case.

    Raises:
        PolicyError: they are not separated so.
    """
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise PolicyError(f"--mount {text}: {error}") from None
    for field in (field for row in rows for field in row):
        name, _, value = field.partition("=")
        yield name.strip().lower(), value


def _after_global(argv: Sequence[str]) -> int:
    place = 1
    while place < len(argv) and argv[place].startswith("-"):
        name, equals, _ = argv[place].partition("=")
        if name in _ELSEWHERE or name[:2] in _ELSEWHERE:
            raise _elsewhere(argv[place])
        if name in GLOBAL_VALUES:
            place += 1 if equals else 2
        elif argv[place] in GLOBAL_FLAGS:
            place += 1
        else:
            raise _unknown(argv[place])
    return place


def _options(argv: Sequence[str], start: int) -> tuple[tuple[Option, ...], int]:
    """The options from a place on, and where the image stands."""
    found: list[Option] = []
    place = start
    while place < len(argv) and argv[place].startswith("-") and argv[place] != "-":
        word = argv[place]
        place += 1
        if word == "--":
            break
        for name, value in _long(word) if word.startswith("--") else _short(word):
            if value is not None:
                found.append(Option(name, value, word))
            elif place < len(argv):
                found.append(Option(name, argv[place], f"{word} {argv[place]}"))
                place += 1
            else:
                raise PolicyError(f"{word}: its value is missing.")
    return tuple(found), place


def _long(word: str) -> Iterable[tuple[str, str | None]]:
    """The value in the same word; None for a value in the next one."""
    written, equals, value = word.partition("=")
    name = OTHER_NAMES.get(written, written)
    if name in FLAGS:
        return ((name, _truth(word, value) if equals else "true"),)
    if name in VALUES:
        return ((name, value if equals else None),)
    raise _unknown(written)


def _short(word: str) -> Iterator[tuple[str, str | None]]:
    """Letters together: flags, and after one that takes a value, the value."""
    for place in range(1, len(word)):
        letter = f"-{word[place]}"
        name = SHORT.get(letter)
        if name is None:
            raise _unknown(f"{letter} in {word}" if len(word) > 2 else word)
        rest = word[place + 1 :]
        if name not in FLAGS:
            yield name, rest.removeprefix("=") if rest else None
            return
        if rest.startswith("="):
            yield name, _truth(word, rest[1:])
            return
        yield name, "true"


def _truth(word: str, value: str) -> str:
    """A flag's value as Go reads it (strconv.ParseBool)."""
    if value in ("1", "t", "T", "TRUE", "true", "True"):
        return "true"
    if value in ("0", "f", "F", "FALSE", "false", "False"):
        return "false"
    raise PolicyError(f"{word}: {value!r} is neither true nor false.")


def _elsewhere(word: str) -> PolicyError:
    return PolicyError(
        f"{word}: it has another machine or engine run the container, so what the server may reach"
        " there is not known, and it is not isolated. Leave it out, or run the server without"
        " isolation: --isolate none."
    )


def _unknown(word: str) -> PolicyError:
    return PolicyError(
        f"{word}: an isolated server is not started with this option of docker or podman. Leave it"
        " out, or run the server without isolation: --isolate none."
    )
