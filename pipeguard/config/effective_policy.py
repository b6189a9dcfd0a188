"""The one policy of a run: the user's file, the project's, and the options of `wrap`.

Finds and reads the files, and combines them; a project's file can only tighten. Without a file it
imports nothing that reads one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pipeguard.config.policy_file import (
    PolicyFile,
    PolicyScope,
    find_beginning,
    parse_policy,
    policy_text,
)
from pipeguard.config.user_policy import may_have, own_policy_path, user_policy_path
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import (
    DEFAULT_KEEP_DAYS,
    InClient,
    Layer,
    Limits,
    Mode,
    Policy,
    Trust,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.config.isolate_key import IsolateEntries
    from pipeguard.config.options import WrapOptions
    from pipeguard.config.strict_yaml import YamlEntry

PROJECT_FILE = ".pipeguard.yaml"


def project_policy_path(folder: str) -> str | None:
    """The nearest project's file, in a folder or its parents up to the home folder."""
    home_folder = os.path.realpath(os.path.expanduser("~"))
    folder = os.path.realpath(folder)
    while True:
        path = os.path.join(folder, PROJECT_FILE)
        if os.path.lexists(path):
            return path
        parent = os.path.dirname(folder)
        if folder in (home_folder, parent):
            return None
        folder = parent


def wrap_policy_paths(options: WrapOptions) -> tuple[str, ...]:
    """The policy files that one run of `wrap` reads; the user's need not exist."""
    user = options.values.get("--policy") or own_policy_path()
    project = project_policy_path(_current_folder())
    return (user,) if project is None else (user, project)


def load_wrap_policy(
    options: WrapOptions,
    *,
    with_project: bool = True,
    check: Callable[[YamlEntry], None] | None = None,
) -> Policy:
    """The policy for one run of `wrap`, whose options override the user's file.

    A project's file tightens the options too: a client's configuration may come with a repository.

    Args:
        options: of the command line.
        with_project: False to leave a project's file out.
        check: as in `parse_policy`.

    Raises:
        PolicyError: an option or a file is invalid.
    """
    user_file = options.values.get("--policy") or user_policy_path()
    project_file = project_policy_path(_current_folder()) if with_project else None
    trust = options.values.get("--trust")
    choices = [choice.value for choice in Trust]
    if trust is not None and trust not in choices:
        raise PolicyError(f"--trust {trust}: choose from {', '.join(choices)}.")
    user = project = None
    if user_file or project_file:
        import datetime
        from time import monotonic

        moment = datetime.datetime.now()  # noqa: DTZ005  the user's own calendar
        today = moment.date()
        now = monotonic() - (moment.timestamp() - find_beginning(today))

        def read(path: str | None, scope: PolicyScope) -> PolicyFile | None:
            if path is None:
                return None
            text = policy_text(path, scope)
            return parse_policy(text, path, scope, now=now, today=today, check=check)

        user = read(user_file, PolicyScope.USER)
        project = read(project_file, PolicyScope.PROJECT)
    user = user or PolicyFile()
    if trust is not None:
        user = user._replace(trust=Trust(trust))
    if "--observe" in options.flags:
        user = user._replace(mode=Mode.OBSERVE)
    return combine(user, project)


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


def _read(options: WrapOptions, key: str) -> PolicyFile:
    """Read the user's file for a key; without the word, read no further: a server is waiting."""
    path = options.values.get("--policy") or user_policy_path()
    text = "" if path is None else policy_text(path, PolicyScope.USER)
    if path is None or not may_have(text.encode(), key):
        return PolicyFile()
    import datetime

    today = datetime.datetime.now().date()  # noqa: DTZ005  the user's own calendar
    return parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)


def _current_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted, so no project is there
        return os.path.expanduser("~")


def combine(user: PolicyFile | None, project: PolicyFile | None) -> Policy:
    """Combine the user's file and the project's, which can only tighten."""
    user = user or PolicyFile()
    project = project or PolicyFile()
    drift = user.drift_allow or frozenset()
    return Policy(
        mode=project.mode or user.mode or Mode.ENFORCE,
        trust=project.trust or user.trust or Trust.FIRST_USE,
        layers=(user.layer,) if project.layer == Layer() else (user.layer, project.layer),
        limits=Limits(*(_least(name, user, project) for name in Limits._fields)),
        drift_allow=drift if project.drift_allow is None else drift & project.drift_allow,
        stop_without_audit=bool(project.stop_without_audit or user.stop_without_audit),
        audit_keep_days=(
            DEFAULT_KEEP_DAYS if user.audit_keep_days is None else user.audit_keep_days
        ),
        ask_in_client=min(
            user.ask_in_client or InClient.URL,
            project.ask_in_client or InClient.FORM,  # which asks for most
            key=[*InClient].index,
        ),
        follows_client=bool(project.follows_client or user.follows_client is not False),
    )


def _least(name: str, user: PolicyFile, project: PolicyFile) -> Any:
    """The user's limit, or else the default; a project's applies if it is lower."""
    usual = getattr(Limits(), name)
    given = [file.limits[name] for file in (user, project) if name in file.limits]
    if name not in user.limits and not name.endswith("_seconds"):
        given.append(usual)
    return min(given, default=usual)
