"""Grants of an isolated server: by options, the policy and its profile.

Reads no policy and starts nothing: `starter` and `preview` do.
"""

from collections.abc import Iterator, Sequence
from os.path import dirname, expanduser, realpath

from pipeguard.config.isolate_key import IsolateEntries, IsolateEntry
from pipeguard.config.options import WrapOptions
from pipeguard.detect.checks.credential_names import is_secret_header
from pipeguard.errors import PolicyError
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.isolation import engines, extent, packages, runtimes, view
from pipeguard.isolation.profile import (
    Profile,
    ResourceLimits,
    parse_limits,
    parse_path,
    parse_port,
    roots_mode,
    written_path,
)
from pipeguard.isolation.shipped import ShippedProfile, find_profile
from pipeguard.launch.command import Command

# Variables that name credentials, or folders of programs or of the system: no data of a server.
_NO_DATA = lazy_regex(
    r".*(?:CRED.*|HOME|LIB)|(?:NODE_|GO|CLASS|GEM_|LD_LIBRARY_)?PATH|(?:PYTHON|XDG_|NVM_|VIRTUAL).*"
)


def combine_grants(entries: IsolateEntries) -> Profile:
    """Combine the grants of entries of the policy.

    Raises:
        PolicyError: a grant is impossible.
    """
    profile = Profile()
    for entry in entries:
        try:
            given = _read_grants(entry, profile.limits, expanduser("~"))
        except PolicyError as error:
            raise PolicyError(f"{error} It is under `isolate`, for {entry.server}.") from None
        profile = profile.with_more(given)
    return profile


def _read_grants(entry: IsolateEntry, limits: ResourceLimits, folder: str) -> Profile:
    """The grants of one entry.

    Args:
        entry: of the policy, or made from options.
        limits: the defaults for limits it does not set.
        folder: the base of relative paths.
    """
    home = expanduser("~")
    written = (written_path(text, folder, home) for text in (*entry.read, *entry.write))
    resolved = ((path, realpath(path)) for path in written)
    return Profile(
        tuple(parse_path(text, folder, home) for text in entry.read),
        tuple(parse_path(text, folder, home) for text in entry.write),
        entry.hosts,
        tuple(parse_port(text) for text in entry.loopback),
        entry.keep_home,
        parse_limits(entry.limits, limits),
        entry.roots,
        tuple((path, real) for path, real in resolved if path != real),
    )


def list_sources(
    options: WrapOptions, entries: IsolateEntries, engine: str, command: Command
) -> tuple[tuple[str, Profile], ...]:
    """The sources of grants, each with what it gives; the one whose limits count first.

    Args:
        options: of `wrap`.
        entries: of the policy, for this server.
        engine: as requested.
        command: the server's, with its variables and working directory.

    Raises:
        PipeGuardError: a grant is impossible.
    """
    policy = combine_grants(entries)
    lists = options.lists
    named = IsolateEntry(
        read=lists.get("--read", ()),
        write=lists.get("--write", ()),
        hosts=lists.get("--connect", ()),
        loopback=lists.get("--loopback", ()),
        keep_home="--keep-home" in options.flags,
        limits=lists.get("--limit", ()),
        roots=roots_mode(options.values.get("--roots", "")),
    )
    shipped = find_shipped(engine, options.command)
    names = [each.partition("=")[0] for each in lists.get("--env", ())]
    names += shipped.variables if shipped else ()
    paths = named_paths({name: command.env.get(name, "") for name in names}, shipped)
    by_options = _read_grants(named, policy.limits, runtimes.starting_folder(command))
    below = ((extent.KNOWN, shipped.profile),) if shipped else ()
    return (
        (extent.ITS_OPTIONS, by_options._replace(named=tuple(paths))),
        (extent.POLICY, policy),
        *below,
    )


def named_paths(variables: view.Variables, shipped: ShippedProfile | None) -> Iterator[str]:
    """Paths in the variables of an entry, but for secrets and folders of programs.

    Args:
        variables: of the entry.
        shipped: the profile of a known server, which makes a file beside one that it replaces.
    """
    defaults = shipped.variables if shipped else {}
    for name, path in variables.items():
        if "/" in path and not (is_secret_header(name) or _NO_DATA.fullmatch(name)):
            yield path
            if defaults.get(name, "").startswith("~/") and dirname(path) not in view.SCRATCH:
                yield dirname(path)


def whole_profile(sources: Sequence[tuple[str, Profile]]) -> Profile:
    """Combine the grants of all sources; the limits of the first count."""
    profile = Profile()
    for _, given in reversed(sources):
        profile = profile.with_more(given)
    return profile


def find_shipped(engine: str, command: Sequence[str]) -> ShippedProfile | None:
    """The profile of a known server, for every engine that restricts it."""
    is_kept = engine not in (engines.Isolation.NONE, engines.Isolation.LEARN)
    package = packages.find_package(command) if is_kept else None
    return find_profile(package.key) if package else None


def check_roots(name: str, *, is_shared: bool, is_container: bool) -> None:
    """Refuse roots that cannot be granted, before anything is started.

    Args:
        name: the server that is to be given the client's roots.
        is_shared: True if several clients may share it.
        is_container: True if its own command line starts a container.

    Raises:
        PolicyError: the client's roots cannot be given here.
    """
    if not (is_shared or is_container):
        return
    shared = "several clients may share it, and each would get the folders of the others"
    why = shared if is_shared else "its own words start a container"
    named = "-v PATH:PATH:ro among its own words" if is_container else "--read PATH or --write PATH"
    raise PolicyError(
        f"{name} cannot be given the client's roots: {why}. Leave out `--roots` (or `roots` in the"
        f" policy), and name the folders: {named}."
    )
