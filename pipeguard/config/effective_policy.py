"""The one policy of a run, of four sources and the options of `wrap`.

Finds and reads the user's file, the project's, the machine's and the organisation's bundle, and
combines them; only the user's can loosen anything. Without a file it imports no reader of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pipeguard.config.enrolment import (
    find_enrolment,
    find_machine_policy,
    machine_policy_path,
)
from pipeguard.config.policy_file import (
    ADMINISTERED,
    UNADMINISTERED,
    PolicyFile,
    PolicyScope,
    RecordSettings,
    find_beginning,
    parse_policy,
    policy_text,
)
from pipeguard.config.user_policy import (
    may_have,
    own_policy_path,
    project_policy_path,
    user_policy_path,
)
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import (
    DEFAULT_KEEP_DAYS,
    InClient,
    Limits,
    Mode,
    Policy,
    Trust,
)

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pipeguard.config.isolate_key import IsolateEntries
    from pipeguard.config.options import WrapOptions
    from pipeguard.config.strict_yaml import YamlEntry

_T = TypeVar("_T")


def wrap_policy_paths(options: WrapOptions) -> dict[frozenset[PolicyScope], list[str]]:
    """The files that decide one run of `wrap`; only the project's must exist.

    Returns:
        Those of an administrator, to be looked at first, and those of the user and the project.
    """
    administered = [machine_policy_path()]
    if enrolment := find_enrolment():
        administered += enrolment.path, enrolment.bundles_path
    own = [options.values.get("--policy") or own_policy_path()]
    if project := project_policy_path():
        own.append(project)
    return {ADMINISTERED: administered, UNADMINISTERED: own}


def require_valid(
    sources: Mapping[PolicyScope, PolicyFile | PolicyError],
) -> dict[PolicyScope, PolicyFile]:
    """The policies of all sources.

    Raises:
        PolicyError: the first error in one of them.
    """
    files = dict[PolicyScope, PolicyFile]()
    for scope, file in sources.items():
        if isinstance(file, PolicyError):
            raise file
        files[scope] = file
    return files


def read_sources(
    options: WrapOptions, scopes: Collection[PolicyScope], check: Callable[[YamlEntry], None]
) -> dict[PolicyScope, PolicyFile | PolicyError]:
    """The policy of each source that there is, or the error in it.

    Args:
        options: of the command line. They override the user's file, and the others tighten them
            too: a client's configuration may come with a repository.
        scopes: the sources to read.
        check: as in `read_policy`.

    Raises:
        PolicyError: an option is invalid.
    """
    trust = options.values.get("--trust")
    choices = [choice.value for choice in Trust]
    if trust is not None and trust not in choices:
        raise PolicyError(f"--trust {trust}: choose from {', '.join(choices)}.")
    read = dict[PolicyScope, PolicyFile | PolicyError]()
    for scope, path in find_policies(options.values.get("--policy")).items():
        if path and scope in scopes:
            try:
                read[scope] = read_policy(path, scope, check)
            except PolicyError as error:
                read[scope] = error
    user = read.get(PolicyScope.USER, PolicyFile())
    if isinstance(user, PolicyFile) and PolicyScope.USER in scopes:
        if trust is not None:
            user = user._replace(trust=Trust(trust))
        if "--observe" in options.flags:
            user = user._replace(mode=Mode.OBSERVE)
        read[PolicyScope.USER] = user
    return read


def _find_now() -> tuple[float, datetime.date]:
    """The sessions' clock at the beginning of the day, and the date."""
    import datetime
    from time import monotonic

    moment = datetime.datetime.now()  # noqa: DTZ005  the user's own calendar
    today = moment.date()
    return monotonic() - (moment.timestamp() - find_beginning(today)), today


def find_policies(user_path: str | None = None) -> dict[PolicyScope, str | None]:
    """The policy files that apply in this folder: that of each source which has one.

    Args:
        user_path: of the user's policy, or None for their own.
    """
    enrolment = find_enrolment()
    return {
        PolicyScope.USER: user_path or user_policy_path(),
        PolicyScope.PROJECT: project_policy_path(),
        PolicyScope.MACHINE: find_machine_policy(),
        PolicyScope.ORGANISATION: enrolment.bundles_path if enrolment else None,
    }


def read_policy(path: str, scope: PolicyScope, check: Callable[[YamlEntry], None]) -> PolicyFile:
    """Read the policy of one source.

    Args:
        path: of its file.
        scope: the source.
        check: as in `parse_policy`; not for a bundle, which is for several versions of the rules.

    Raises:
        PolicyError: it is invalid.
    """
    if scope is PolicyScope.ORGANISATION and (enrolment := find_enrolment()):
        from pipeguard.config.organisation import read_bundle

        return read_bundle(enrolment).to_file()
    now, today = _find_now()
    text = policy_text(path, scope)
    return parse_policy(text, path, scope, now=now, today=today, check=check)


def wrap_isolation(options: WrapOptions) -> IsolateEntries:
    """Isolation settings of the user's policy file, for all servers.

    Raises:
        PolicyError: the file is invalid.
    """
    return _read(options, "isolate").isolate


def wrap_egress_proxy(options: WrapOptions) -> str | None:
    """The proxy of the user's network that their policy file names; None if it names none.

    Raises:
        PolicyError: the file is invalid.
    """
    return _read(options, "egress").egress_proxy


def wrap_record(options: WrapOptions) -> RecordSettings | None:
    """The folder in which a run records its sessions; None if it records none.

    `--record` names another folder than the policy file, which says how much is kept there.

    Raises:
        PolicyError: the file is invalid.
    """
    settings = _read(options, "folder").record  # a word that other policies do not have
    path = options.values.get("--record")
    return settings if path is None else (settings or RecordSettings(path))._replace(path=path)


def _read(options: WrapOptions, key: str) -> PolicyFile:
    """Read the user's file for a key; without the word, read no further: a server is waiting."""
    path = options.values.get("--policy") or user_policy_path()
    text = policy_text(path, PolicyScope.USER) if path else ""
    if not (path and may_have(text.encode(), key)):
        return PolicyFile()
    _, today = _find_now()
    return parse_policy(text, path, PolicyScope.USER, today=today)


def combine_sources(files: Mapping[PolicyScope, PolicyFile]) -> Policy:
    """Combine the user's policy with those of other sources, which can only tighten it."""
    user = files.get(PolicyScope.USER, PolicyFile())
    tighter = [file for scope, file in files.items() if scope is not PolicyScope.USER]
    both = [*tighter, user]
    drifts = [file.drift_allow for file in tighter if file.drift_allow is not None]
    asks = [file.ask_in_client for file in tighter if file.ask_in_client]
    keep_days = user.audit_keep_days
    return Policy(
        mode=_first(file.mode for file in both) or Mode.ENFORCE,
        trust=_first(file.trust for file in both) or Trust.FIRST_USE,
        layers=(user.layer, *(file.layer for file in tighter)),
        limits=Limits(*(_least(name, user, tighter) for name in Limits._fields)),
        drift_allow=(user.drift_allow or frozenset()).intersection(*drifts),
        stop_without_audit=any(file.stop_without_audit for file in both),
        audit_keep_days=DEFAULT_KEEP_DAYS if keep_days is None else keep_days,
        ask_in_client=min([user.ask_in_client or InClient.URL, *asks], key=[*InClient].index),
        follows_client=(
            any(file.follows_client for file in tighter) or user.follows_client is not False
        ),
        approved=frozenset[str]().union(*(file.approved for file in tighter)),
    )


def _first(values: Iterable[_T | None]) -> _T | None:
    return next((value for value in values if value is not None), None)


def _least(name: str, user: PolicyFile, tighter: Sequence[PolicyFile]) -> Any:
    """The user's limit, or else the default; a tighter file's applies if it is lower."""
    usual = getattr(Limits(), name)
    given = [file.limits[name] for file in (user, *tighter) if name in file.limits]
    if name not in user.limits and not name.endswith("_seconds"):
        given.append(usual)
    return min(given, default=usual)
