"""A server that is a `docker run` or `podman run` itself: its own command line, hardened.

A container is not run in a container. Its words are read strictly: an option that is not in a table
is refused (docs.docker.com/reference/cli/docker/container/run, podman-run(1)), and so is one that
gives more than a container's own files, its folders and its variables. The rest is closed by added
options, and the user is told.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from os.path import basename, join, realpath
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.words import word_set
from pipeguard.errors import PolicyError
from pipeguard.isolation.cgroups import MEMORY_FACTOR
from pipeguard.isolation.sensitive import find_hidden, find_holder, is_in_any, is_inside, overlaps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.view import SandboxUser, Variables

PROGRAMS = ("docker", "podman")
_OTHER_NAMES = {"--net": "--network", "--net-alias": "--network-alias"}
_SHORT = (
    "-a --attach -c --cpu-shares -e --env -h --hostname -i --interactive -l --label -m"
    " --memory -q --quiet -t --tty -u --user -v --volume -w --workdir"
)
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


SHORT = dict(zip(_SHORT.split()[::2], _SHORT.split()[1::2], strict=True))
FLAGS, VALUES = word_set(_FLAGS), word_set(_VALUES)
# Before `run`: these do not change what a container may reach.
_GLOBAL_VALUES = word_set("--config --log-level -l")
_GLOBAL_FLAGS = word_set("--debug -D --tls --tlsverify")
# These choose who runs it: `-c` is docker's --context and podman's --connection, `-r` --remote.
_ELSEWHERE = word_set("--host -H --context -c --remote -r --url --connection")
_CHOOSERS = ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINER_CONNECTION")
_HERE = ("", "default")  # contexts of this machine
_NO_ESCALATION = ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")
_ONLY = {  # values that share nothing with this machine or another container, and free nothing
    "--pid": ("private",),
    "--ipc": ("private", "none", "shareable"),
    "--uts": ("private",),
    "--cgroupns": ("private",),
    "--userns": ("auto", "nomap", "keep-id", "private"),
    "--security-opt": _NO_ESCALATION,
    "--read-only": ("true",),
    "--restart": ("no",),
}
_BOOLEANS = {  # as Go reads them (strconv.ParseBool)
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), "true"),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), "false"),
}
_VOLUME_OPTIONS = word_set("ro rw z Z cached delegated consistent nocopy copy private")
_SOURCES, _TARGETS = word_set("source src"), word_set("target destination dst")
_MOUNT_FIELDS = word_set(
    "type source src target destination dst readonly ro rw consistency tmpfs-size tmpfs-mode"
    " volume-nocopy volume-subpath bind-nonrecursive bind-recursive relabel"
)
_MOUNT_TYPES = (["bind"], ["volume"], ["tmpfs"])


class Option(NamedTuple):
    """One option of `run`.

    Attributes:
        name: its long name.
        value: as written; `true` or `false` for a flag.
        words: as in the command.
    """

    name: str
    value: str
    words: str


class ContainerRun(NamedTuple):
    """A `docker run` or `podman run`.

    Attributes:
        start: the program and everything up to `run`, inclusive.
        options: of `run`.
        rest: the image, its command and its arguments.
    """

    start: tuple[str, ...]
    options: tuple[Option, ...]
    rest: tuple[str, ...]


class Hardened(NamedTuple):
    """A container's command that may be started.

    Attributes:
        argv: the command.
        added: the words that were added to it.
        is_open: True if it has a network of its own, which PipeGuard does not check.
    """

    argv: tuple[str, ...]
    added: tuple[str, ...]
    is_open: bool


def is_of_containers(argv: Sequence[str]) -> bool:
    """True if a command starts docker or podman."""
    return basename(argv[0]).removesuffix(".exe") in PROGRAMS


def harden(
    argv: Sequence[str],
    folder: str,
    profile: Profile,
    host: SandboxUser,
    variables: Variables,
) -> Hardened:
    """Harden the command of a container's server.

    Args:
        argv: a command of docker or podman.
        folder: its working directory.
        profile: the server's grants; its files only name paths that may be mounted.
        host: this machine and its user.
        variables: the environment of docker or podman.

    Raises:
        PolicyError: it gives something that isolation does not, or a list of hosts is asked for.
    """
    run = parse_run(argv)
    for name in _CHOOSERS:
        value = variables.get(name, "")
        if value not in _HERE and not value.startswith("unix://"):
            raise _elsewhere(name)
    container = f"a container that {' '.join(run.start)} starts"
    if profile.hosts or profile.loopback:
        raise PolicyError(
            f"{run.rest[0]}: no list of hosts or ports can be held for {container}. If it may reach"
            " every host, say so in its own words: --network bridge."
        )
    if profile.keeps_home:
        raise PolicyError(
            f"{run.rest[0]}: --keep-home (keep_home in the policy) has no effect on {container}."
            " Give it a volume in its own words instead: -v NAME:/FOLDER."
        )
    named = (*profile.read, *profile.write)
    mounted = [path for each in run.options for path in _judge(each, folder, named, host)]
    for path in named:
        if not overlaps(path, mounted):
            access = "" if path in profile.write else ":ro"
            raise PolicyError(
                f"{path}: naming it (--read, --write, or the policy) gives nothing to {container}."
                f" Mount it in the server's own words instead: -v {path}:{path}{access}."
            )
    added = tuple(_added_words(run, profile))
    is_open = any(each.name == "--network" and each.value != "none" for each in run.options)
    return Hardened((*run.start, *added, *argv[len(run.start) :]), added, is_open)


def parse_run(argv: Sequence[str]) -> ContainerRun:
    """Parse a command of docker or podman.

    Raises:
        PolicyError: it is not a `run`, or has an unknown option.
    """
    start = _options_start(argv)
    words = deque(argv[start:])
    options = list[Option]()
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.popleft()
        if word == "--":
            break
        for name, value in _read_word(word):
            if value is not None:
                options.append(Option(name, value, word))
            elif words:
                options.append(Option(name, words[0], f"{word} {words.popleft()}"))
            else:
                raise PolicyError(f"{word}: its value is missing.")
    if not words:
        raise PolicyError(f"{' '.join(argv[:start])}: it names no image.")
    return ContainerRun(tuple(argv[:start]), tuple(options), tuple(words))


def _options_start(argv: Sequence[str]) -> int:
    """The position after `run`."""
    place = 1
    while place < len(argv) and argv[place].startswith("-"):
        name, equals, _ = argv[place].partition("=")
        if name in _ELSEWHERE or name[:2] in _ELSEWHERE:
            raise _elsewhere(argv[place])
        if name not in _GLOBAL_VALUES and argv[place] not in _GLOBAL_FLAGS:
            raise _refuse(argv[place])
        place += 2 if name in _GLOBAL_VALUES and not equals else 1
    end = place + (2 if [*argv[place : place + 1]] == ["container"] else 1)
    if [*argv[end - 1 : end]] != ["run"]:
        what = " ".join((basename(argv[0]), *argv[place : place + 1]))
        raise PolicyError(
            f"{what}: only a server of `docker run` or `podman run` can be isolated: its own words"
            " say what it may reach."
        )
    return end


def _read_word(word: str) -> Iterator[tuple[str, str | None]]:
    """The options in one word: a short option may be followed by others or by its value."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        yield _read_option(word, _OTHER_NAMES.get(name, name), value if equals else None)
        return
    for place, letter in enumerate(word[1:], 2):
        name = SHORT.get(f"-{letter}", letter)
        rest = word[place:]
        is_flag = name in FLAGS and not rest.startswith("=")
        yield _read_option(word, name, rest.removeprefix("=") if rest and not is_flag else None)
        if not is_flag:
            return


def _read_option(word: str, name: str, value: str | None) -> tuple[str, str | None]:
    """An option, and its value; None if the value is the next word."""
    if name not in FLAGS | VALUES:
        raise _refuse(word.partition("=")[0])
    if name in FLAGS and value not in {None, *_BOOLEANS}:
        raise PolicyError(f"{word}: {value!r} is neither true nor false.")
    return name, _BOOLEANS[value or "true"] if name in FLAGS else value


def _judge(option: Option, folder: str, named: Sequence[str], host: SandboxUser) -> Iterator[str]:
    """The files of this machine that an option gives.

    Raises:
        PolicyError: it is not known to be harmless.
    """
    if not _may_be(option.name, option.value):
        raise _refuse(option.words)
    for source in _read_mount(option)[0]:
        path = realpath(join(folder, source))
        if problem := _find_problem(path, named, host):
            raise _refuse(option.words, problem)
        yield path


def _may_be(name: str, value: str) -> bool:
    """True if an option may have a value."""
    if name in ("--memory", "--pids-limit"):
        return value[:1].isdigit() and value.strip("0.bkmgtBKMGTi") != ""
    if name == "--network":
        # `name=bridge,alias=x` is docker's long form, and podman's is `bridge:ip=…`.
        named = (field.partition("=")[2] for field in value.split(",") if field[:5] == "name=")
        kinds = {value.partition(":")[0], *named}
        return not kinds & {"host", "container", "ns", "pod"} and "container:" not in value
    # `keep-id:uid=5` is podman's.
    return (value.partition(":")[0] if name == "--userns" else value) in _ONLY.get(name, (value,))


def _read_mount(option: Option) -> tuple[list[str], str]:
    """The files of this machine that an option mounts, and their place in the container.

    Raises:
        PolicyError: it has an unknown part.
    """
    if option.name in ("--env-file", "--label-file"):
        return [option.value], ""
    if option.name == "--mount":
        return _read_fields(option)
    if option.name not in ("--volume", "--tmpfs"):
        return [], ""
    source, colon, rest = option.value.partition(":")
    if option.name == "--tmpfs":
        return [], source
    target, _, options = rest.partition(":")
    if not {*filter(None, options.split(","))} <= _VOLUME_OPTIONS:
        raise _refuse(option.words)
    is_file = colon and ("/" in source or source in (".", "..", "~"))
    return [source] if is_file else [], target or source


def _read_fields(option: Option) -> tuple[list[str], str]:
    """Read `--mount`, whose fields are comma-separated values (RFC 4180)."""
    import csv

    try:
        rows = list(csv.reader([option.value], strict=True))
    except csv.Error as error:
        raise PolicyError(f"{option.words}: {error}") from None
    fields = [field.partition("=")[::2] for row in rows for field in row]
    fields = [(name.strip().lower(), value) for name, value in fields]
    kinds = [value for name, value in fields if name == "type"] or ["volume"]
    sources = [value for name, value in fields if name in _SOURCES]
    is_bind = kinds == ["bind"]
    is_known = kinds in _MOUNT_TYPES and all(name in _MOUNT_FIELDS for name, _ in fields)
    if not is_known or (is_bind and len(sources) != 1):
        raise _refuse(option.words)
    target = next((value for name, value in fields if name in _TARGETS), "")
    return [each for each in sources if is_bind or "/" in each], target


def _find_problem(path: str, named: Sequence[str], host: SandboxUser) -> str:
    """Explain why a file or folder may not be mounted; empty if it may."""
    if is_inside(host.home, path):
        return f"exposes {'the whole disk' if path == '/' else f'all of {path}'}"
    holder = find_holder(path, host.sensitive)
    if holder and is_in_any(path, named):
        holder = None
    if found := holder or next(find_hidden(path, host.sensitive, named), None):
        return f"gives {found}, which must be granted by name"
    try:
        return "gives a socket" if stat.S_ISSOCK(os.stat(path).st_mode) else ""
    except OSError:
        return ""  # it is made, empty, or refused by docker itself


def _added_words(run: ContainerRun, profile: Profile) -> Iterator[str]:
    """Hardening options, for features that servers do not use."""
    values: dict[str, list[str]] = {}
    for option in run.options:
        values.setdefault(option.name, []).append(option.value)
    if "--network" not in values:
        yield from ("--network", "none")
    if not {"ALL", "all"} & set(values.get("--cap-drop", ())):
        yield from ("--cap-drop", "ALL")
    if not set(_NO_ESCALATION) & set(values.get("--security-opt", ())):
        yield from ("--security-opt", "no-new-privileges")
    if "--read-only" not in values:
        yield "--read-only"
    if not any(_read_mount(each)[1].rstrip("/") == "/tmp" for each in run.options):  # noqa: S108  the container's
        yield from ("--tmpfs", f"/tmp:rw,exec,size={profile.limits.scratch},mode=1777")  # noqa: S108  as above
    if "--pids-limit" not in values and profile.limits.processes is not None:
        yield from ("--pids-limit", str(profile.limits.processes))
    if "--memory" not in values and profile.limits.memory is not None:
        yield from ("--memory", str(MEMORY_FACTOR * profile.limits.memory))
    if values.get("--rm", ["false"])[-1] == "false":
        yield "--rm"


def _elsewhere(word: str) -> PolicyError:
    return PolicyError(
        f"{word}: it has another machine or engine run the container, so what the server may reach"
        " there is not known, and it is not isolated."
    )


def _refuse(words: str, why: str = "may give more than a container has") -> PolicyError:
    return PolicyError(f"{words}: it {why}, so an isolated server is not started with it.")
