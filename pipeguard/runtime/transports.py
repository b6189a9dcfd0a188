"""The table of transports: each module of `transports.http.bindings`, by its file's name.

Names are listed without importing a transport, and with it an event loop and an HTTP library.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from pipeguard.errors import PolicyError
from pipeguard.transports.http import bindings

if TYPE_CHECKING:
    from pipeguard.transports.http.server.backend import Backend, Endpoint, TransportBinding

AUTO = "auto"


def transport_names() -> tuple[str, ...]:
    """The names of all transports, as `--transport` takes them: `auto` first."""
    modules = pkgutil.iter_modules(bindings.__path__)
    names = (module.name.replace("_", "-") for module in modules)
    return tuple(sorted(names, key=lambda name: (name != AUTO, name)))


def transport(name: str) -> TransportBinding:
    """The transport of a name."""
    module = import_module(f"{bindings.__name__}.{name.replace('-', '_')}")
    binding: TransportBinding = module.BINDING
    return binding


def make_endpoints(backend: Backend) -> tuple[Endpoint, ...]:
    """Endpoints of a backend, for each transport that has clients."""
    makers = [transport(name).make_endpoint for name in transport_names()]
    return tuple(make(backend) for make in makers if make is not None)


def choose_transport(given: str, scheme: str) -> str:
    """The name of the transport for an address.

    Args:
        given: the name that the user gave, or `auto`.
        scheme: of the address.

    Raises:
        PolicyError: there is no such transport, or not at such an address.
    """
    names = transport_names()
    if given not in names:
        described = "\n".join(f"  {name}: {transport(name).help}" for name in names)
        raise PolicyError(
            f"--transport {given}: there is no such transport. There are:\n{described}"
        )
    if scheme in transport(given).schemes:
        return given
    if given != AUTO:
        raise PolicyError(f"--transport {given}: not at an address that begins with {scheme}.")
    return next(name for name in names if scheme in transport(name).schemes)
