"""Modules in C. A machine without a compiler has none, and runs their forms in Python."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def find_native(name: str) -> ModuleType | None:
    """The module in C of this name, below `pipeguard`; None if it was not built."""
    try:
        return import_module(f"pipeguard.{name}")
    except ImportError:
        return None
