"""A server that is a `docker run` or `podman run` itself: its own words, hardened.

A container is not run in a container. What its words give beyond a container's own files, its
folders and its variables is refused by name; what they leave open is closed, and told.
"""

from __future__ import annotations

import os
import stat
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import PolicyError
from pipeguard.isolation.cgroups import MEMORY_FACTOR
from pipeguard.isolation.docker_words import mount_fields, parse_run, refuse_elsewhere, split_words
from pipeguard.isolation.sensitive import find_hidden, find_holder, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipeguard.isolation.docker_words import ContainerRun, Option
    from pipeguard.isolation.profile import Profile
    from pipeguard.isolation.view import SandboxUser

_NAMESPACES = {  # whose values share nothing with this machine or another container
    "--pid": ("private",),
    "--ipc": ("private", "none", "shareable"),
    "--uts": ("private",),
    "--cgroupns": ("private",),
    "--userns": ("auto", "nomap", "keep-id", "private"),
}
_VOLUME_OPTIONS = split_words("ro rw z Z cached delegated consistent nocopy copy private")
_MOUNT_FIELDS = split_words(
    "type source src target destination dst readonly ro rw consistency tmpfs-size tmpfs-mode"
    " volume-nocopy volume-subpath bind-nonrecursive bind-recursive relabel"
)
_MOUNT_TYPES = ("bind", "volume", "tmpfs")
_NO_ESCALATION = ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")
_ONLY = {"--security-opt": _NO_ESCALATION, "--read-only": ("true",), "--restart": ("no",)}

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class Hardened(NamedTuple):
    """A container's command that may be started.

    Attributes:
        argv: the command.
        added: the words that were added to it.
        is_open: whether it has a network of its own, which nobody judges.
    """

    argv: tuple[str, ...]
    added: tuple[str, ...]
    is_open: bool


def harden(
    argv: Sequence[str],
    folder: str,
    profile: Profile,
    host: SandboxUser,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> Hardened:
    """Close what the words of a container's server leave open.

    Args:
        argv: a command of docker or podman.
        folder: that it is started in.
        profile: what the server is given; its files only name what may be mounted all the same.
        host: this machine and its user.
        variables: that docker or podman is started with.

    Raises:
        PolicyError: it gives what isolation does not, or a list of hosts is asked for.
    """
    run = parse_run(argv)
    refuse_elsewhere(variables)
    if not profile.is_offline:
        raise PolicyError(
            f"{run.rest[0]}: no list of hosts or ports can be held for a container that"
            f" {' '.join(run.start)} starts. Leave out --connect and --loopback. If it may reach"
            " every host, say so in its own words: --network bridge."
        )
    if profile.keeps_home:
        raise PolicyError(
            f"{run.rest[0]}: --keep-home (keep_home in the policy) has no effect on a container"
            f" that {' '.join(run.start)} starts. Leave it out, and give it a volume in its own"
            " words: -v NAME:/FOLDER."
        )
    for option in run.options:
        _judge(option, folder, profile, host)
    _check_paths(run, folder, profile)
    added = tuple(_added_words(run, profile))
    networks = [option.value for option in run.options if option.name == "--network"]
    words = (*run.start, *added, *argv[len(run.start) :])
    return Hardened(words, added, any(network != "none" for network in networks))


def _check_paths(run: ContainerRun, folder: str, profile: Profile) -> None:
    """Refuse what would have no effect: a path that is named, and that no mount has."""
    sources = [
        os.path.realpath(os.path.join(folder, source))
        for option in run.options
        if option.name in _SOURCES
        for source in _SOURCES[option.name](option)
    ]
    for path in (*profile.read, *profile.write):
        if not any(is_inside(path, each) or is_inside(each, path) for each in sources):
            access = "" if path in profile.write else ":ro"
            raise PolicyError(
                f"{path}: naming it (--read, --write, or the policy) gives nothing to a container"
                f" that {' '.join(run.start)} starts. Mount it in the server's own words instead:"
                f" -v {path}:{path}{access}."
            )


def _judge(option: Option, folder: str, profile: Profile, host: SandboxUser) -> None:
    name, value = option.name, option.value
    if name in _SOURCES:
        for source in _SOURCES[name](option):
            _judge_source(option, source, folder, profile, host)
    elif not _may_be(name, value):
        raise _fault(option)


def _may_be(name: str, value: str) -> bool:
    """True if an option may have a value."""
    if name in _NAMESPACES:
        return value.partition(":")[0] in _NAMESPACES[name]
    if name in ("--memory", "--pids-limit"):
        return value[:1].isdigit() and value.strip("0.bkmgtBKMGTi") != ""
    if name == "--network":
        # `name=bridge,alias=x` is docker's long form, and podman's is `bridge:ip=…`.
        named = (field.partition("=")[2] for field in value.split(",") if field[:5] == "name=")
        kinds = {value.partition(":")[0], *named}
        return not kinds & {"host", "container", "ns", "pod"} and "container:" not in value
    return value in _ONLY.get(name, (value,))


def _volume(option: Option) -> Iterator[str]:
    """The source of `-v SOURCE:TARGET:OPTIONS`; of a volume without a source, nothing."""
    source, colon, rest = option.value.partition(":")
    if not colon:
        return
    _, _, options = rest.partition(":")
    for each in filter(None, options.split(",")):
        if each not in _VOLUME_OPTIONS:
            raise _fault(option)
    if "/" in source or source in (".", "..", "~"):
        yield source


def _mount(option: Option) -> Iterator[str]:
    fields = list(mount_fields(option.value))
    for name, _ in fields:
        if name not in _MOUNT_FIELDS:
            raise _fault(option)
    kinds = [value for name, value in fields if name == "type"] or ["volume"]
    if len(kinds) > 1 or kinds[0] not in _MOUNT_TYPES:
        raise _fault(option)
    sources = [value for name, value in fields if name in ("source", "src")]
    if kinds[0] == "bind" and len(sources) != 1:
        raise _fault(option)
    yield from (source for source in sources if kinds[0] == "bind" or "/" in source)


def _file(option: Option) -> Iterator[str]:
    """The file whose lines become variables or labels."""
    yield option.value


# What gives a file or folder of this machine, with its path.
_SOURCES: Mapping[str, Callable[[Option], Iterator[str]]] = {
    "--volume": _volume,
    "--mount": _mount,
    "--env-file": _file,
    "--label-file": _file,
}


def _judge_source(
    option: Option, source: str, folder: str, profile: Profile, host: SandboxUser
) -> None:
    path = os.path.realpath(os.path.join(folder, source))
    if is_inside(host.home, path):
        what = "the whole disk" if path == "/" else f"all of {path}"
        raise _fault(option, f"exposes {what}", "Mount single folders instead")
    named = (*profile.read, *profile.write)
    holder = find_holder(path, host.sensitive)
    if holder is not None and not any(is_inside(path, each) for each in named):
        raise _fault(option, f"gives {holder}, which no server is given unasked")
    inside = next(find_hidden(path, host.sensitive, named), None)
    if inside is not None:
        raise _fault(option, f"gives {inside}, which no server is given unasked")
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return  # it is made, empty, or refused by docker itself
    if is_socket:
        raise _fault(option, "gives a socket")


def _added_words(run: ContainerRun, profile: Profile) -> Iterator[str]:
    """Words that no server uses, and that are not optional."""
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
    if not any(_is_on_tmp(option) for option in run.options):
        yield from ("--tmpfs", f"/tmp:rw,exec,size={profile.limits.scratch},mode=1777")  # noqa: S108  the container's
    if "--pids-limit" not in values and profile.limits.processes is not None:
        yield from ("--pids-limit", str(profile.limits.processes))
    if "--memory" not in values and profile.limits.memory is not None:
        yield from ("--memory", str(MEMORY_FACTOR * profile.limits.memory))
    if values.get("--rm", ["false"])[-1] == "false":
        yield "--rm"


def _is_on_tmp(option: Option) -> bool:
    if option.name == "--tmpfs":
        target = option.value.partition(":")[0]
    elif option.name == "--volume":
        target = option.value.partition(":")[2].partition(":")[0] or option.value
    elif option.name == "--mount":
        keys = ("target", "destination", "dst")
        found = (value for name, value in mount_fields(option.value) if name in keys)
        target = next(found, "")
    else:
        return False
    return target.rstrip("/") == "/tmp"  # noqa: S108  as above


def _fault(option: Option, why: str = "", instead: str = "Leave it out") -> PolicyError:
    return PolicyError(
        f"{option.words}: {f'it {why}, so ' if why else ''}an isolated server is not started with"
        f" it. {instead}, or run the server without isolation: --isolate none."
    )
