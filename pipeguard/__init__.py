"""PipeGuard: a firewall for the Model Context Protocol.

The library in one import; each name is loaded when it is first used::

    from pipeguard import Direction, Frame, Policy, Session, load_engines, make_guard

    session = Session(make_guard("files", load_engines(), Policy(), pins={}), run="EXAMPLE")
    verdict = session.take(Frame(Direction.TO_SERVER, frame, now=0.0))

These names are stable; anything else in a module may move. docs/architecture.md is the map.
"""

from pipeguard.version import __version__

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: only frozen modules may be imported here
if TYPE_CHECKING:
    from pipeguard.detect.detector import Engines, make_guard
    from pipeguard.errors import PipeGuardError
    from pipeguard.firewall.finding import Action, Confidence, Direction, Finding, Severity, Verdict
    from pipeguard.firewall.policy import Policy
    from pipeguard.firewall.session.events import Frame
    from pipeguard.firewall.session.guard import Guard
    from pipeguard.firewall.session.session import Session
    from pipeguard.rulebook.cache import load_engines

_MODULES = {
    "Action": "firewall.finding",
    "Confidence": "firewall.finding",
    "Direction": "firewall.finding",
    "Engines": "detect.detector",
    "Finding": "firewall.finding",
    "Frame": "firewall.session.events",
    "Guard": "firewall.session.guard",
    "PipeGuardError": "errors",
    "Policy": "firewall.policy",
    "Session": "firewall.session.session",
    "Severity": "firewall.finding",
    "Verdict": "firewall.finding",
    "load_engines": "rulebook.cache",
    "make_guard": "detect.detector",
}
__all__ = [
    "Action",
    "Confidence",
    "Direction",
    "Engines",
    "Finding",
    "Frame",
    "Guard",
    "PipeGuardError",
    "Policy",
    "Session",
    "Severity",
    "Verdict",
    "__version__",
    "load_engines",
    "make_guard",
]


def __getattr__(name: str) -> object:
    """Load a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'pipeguard' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"pipeguard.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
