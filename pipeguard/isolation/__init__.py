"""Confines a server: what it may read, write and reach is named, and everything else is not there.

`profile` is what is granted, `runtimes` what its program needs to run at all, `view` the files that
it then sees. An engine makes it so: `bubblewrap` with the kernel's namespaces and `seccomp`.
`servers` puts this together for one server. Other rooms import the names below, and no module; each
is loaded when it is first used, since a server is waiting.
"""

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: a server is waiting
if TYPE_CHECKING:
    from pipeguard.isolation.egress.addresses import describe_excess as describe_excess
    from pipeguard.isolation.engines import Isolation as Isolation
    from pipeguard.isolation.engines import choose_engine as choose_engine
    from pipeguard.isolation.extent import ITS_PROGRAM as ITS_PROGRAM
    from pipeguard.isolation.extent import Extent as Extent
    from pipeguard.isolation.servers.changes import find_wall_grant as find_wall_grant
    from pipeguard.isolation.servers.changes import plan_grant as plan_grant
    from pipeguard.isolation.servers.command import ServerCommand as ServerCommand
    from pipeguard.isolation.servers.engine_trial import find_engine_problem as find_engine_problem
    from pipeguard.isolation.servers.engine_trial import try_engines as try_engines
    from pipeguard.isolation.servers.engine_trial import try_landlock as try_landlock
    from pipeguard.isolation.servers.engine_trial import try_learning as try_learning
    from pipeguard.isolation.servers.entry_check import check_entry as check_entry
    from pipeguard.isolation.servers.entry_check import check_policy as check_policy
    from pipeguard.isolation.servers.entry_check import check_proxy as check_proxy
    from pipeguard.isolation.servers.entry_check import missing_paths as missing_paths
    from pipeguard.isolation.servers.facts import ServerFacts as ServerFacts
    from pipeguard.isolation.servers.inventory import Installed as Installed
    from pipeguard.isolation.servers.inventory import Inventory as Inventory
    from pipeguard.isolation.servers.inventory import package_updater as package_updater
    from pipeguard.isolation.servers.preview import ServerPreview as ServerPreview
    from pipeguard.isolation.servers.preview import preview_server as preview_server
    from pipeguard.isolation.servers.starter import ServerStarter as ServerStarter
    from pipeguard.isolation.walls.grants import NothingThereError as NothingThereError
    from pipeguard.isolation.walls.grants import WallGrant as WallGrant
    from pipeguard.isolation.walls.grants import list_grants as list_grants

_MODULES = {
    "Isolation": "engines",
    "Extent": "extent",
    "ITS_PROGRAM": "extent",
    "Installed": "servers.inventory",
    "Inventory": "servers.inventory",
    "NothingThereError": "walls.grants",
    "ServerFacts": "servers.facts",
    "ServerCommand": "servers.command",
    "ServerPreview": "servers.preview",
    "ServerStarter": "servers.starter",
    "WallGrant": "walls.grants",
    "check_entry": "servers.entry_check",
    "check_policy": "servers.entry_check",
    "check_proxy": "servers.entry_check",
    "choose_engine": "engines",
    "describe_excess": "egress.addresses",
    "find_engine_problem": "servers.engine_trial",
    "find_wall_grant": "servers.changes",
    "list_grants": "walls.grants",
    "missing_paths": "servers.entry_check",
    "package_updater": "servers.inventory",
    "plan_grant": "servers.changes",
    "preview_server": "servers.preview",
    "try_engines": "servers.engine_trial",
    "try_landlock": "servers.engine_trial",
    "try_learning": "servers.engine_trial",
}
__all__ = [*_MODULES]  # noqa: PLE0604  the names of a table are texts


def __getattr__(name: str) -> object:
    """Load a name of the door (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'pipeguard.isolation' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"pipeguard.isolation.{_MODULES[name]}"), name)
