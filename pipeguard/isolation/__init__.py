"""Confines a server: it can read, write and reach only what is named; everything else is absent.

`profile` holds the grants, `runtimes` finds the files its program needs to run, `view` lists the
files that it then sees. An engine makes it so: `bubblewrap` with the kernel's namespaces and
`seccomp`. `servers` puts this together for one server. Other rooms import the names below, and no
module; each is loaded when it is first used, because a server is waiting.
"""

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: a server is waiting
if TYPE_CHECKING:
    from pipeguard.isolation.egress.addresses import describe_excess as describe_excess
    from pipeguard.isolation.engines import Isolation as Isolation
    from pipeguard.isolation.engines import choose_engine as choose_engine
    from pipeguard.isolation.extent import ITS_PROGRAM as ITS_PROGRAM
    from pipeguard.isolation.extent import Extent as Extent
    from pipeguard.isolation.servers.command import ServerCommand as ServerCommand
    from pipeguard.isolation.servers.engine_trial import find_engine_problem as find_engine_problem
    from pipeguard.isolation.servers.engine_trial import try_engines as try_engines
    from pipeguard.isolation.servers.engine_trial import try_landlock as try_landlock
    from pipeguard.isolation.servers.entry_check import check_entry as check_entry
    from pipeguard.isolation.servers.entry_check import check_policy as check_policy
    from pipeguard.isolation.servers.entry_check import check_proxy as check_proxy
    from pipeguard.isolation.servers.entry_check import missing_paths as missing_paths
    from pipeguard.isolation.servers.inventory import Installed as Installed
    from pipeguard.isolation.servers.inventory import Inventory as Inventory
    from pipeguard.isolation.servers.inventory import package_updater as package_updater
    from pipeguard.isolation.servers.preview import ServerFacts as ServerFacts
    from pipeguard.isolation.servers.preview import ServerPreview as ServerPreview
    from pipeguard.isolation.servers.preview import preview_server as preview_server
    from pipeguard.isolation.servers.starter import ServerStarter as ServerStarter
    from pipeguard.isolation.walls.grants import NothingThereError as NothingThereError
    from pipeguard.isolation.walls.grants import WallGrant as WallGrant
    from pipeguard.isolation.walls.grants import find_wall_grant as find_wall_grant
    from pipeguard.isolation.walls.grants import list_grants as list_grants
    from pipeguard.isolation.walls.grants import plan_grant as plan_grant

_NAMES = {
    "egress.addresses": "describe_excess",
    "engines": "Isolation choose_engine",
    "extent": "Extent ITS_PROGRAM",
    "servers.command": "ServerCommand",
    "servers.engine_trial": "find_engine_problem try_engines try_landlock",
    "servers.entry_check": "check_entry check_policy check_proxy missing_paths",
    "servers.inventory": "Installed Inventory package_updater",
    "servers.preview": "ServerFacts ServerPreview preview_server",
    "servers.starter": "ServerStarter",
    "walls.grants": "NothingThereError WallGrant find_wall_grant list_grants plan_grant",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = [*_MODULES]  # noqa: PLE0604  the names of a table are texts


def __getattr__(name: str) -> object:
    """Load a name of the door (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'pipeguard.isolation' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"pipeguard.isolation.{_MODULES[name]}"), name)
