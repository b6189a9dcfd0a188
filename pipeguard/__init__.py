"""PipeGuard: a firewall for the Model Context Protocol."""

from pipeguard.version import __version__

__all__ = ["__version__"]
