"""Profiles of known servers: `profiles.json`, by the package that is run.

JSON, since a server waits while it is read, and to import a reader of YAML takes 12 ms. Each was
tried with the package itself; none gives a file of the user's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.isolation.packages import Package

FILE = Path(__file__).with_name("profiles.json")


class ShippedProfile(NamedTuple):
    """The profile of one known server.

    Attributes:
        packages: `REGISTRY:NAME`.
        hosts: that it may connect to.
        keeps_home: whether its home is kept between runs.
        variables: set where the user sets none; `~` is its home.
        npm_parts: folders of a package of PyPI, as patterns, that it has npm install packages in
            when it first runs, which it cannot: they are fetched with it.
        has_git_settings: whether it is given the user's name and settings of git.
        changes_git: whether it is a server of git, which changes repositories that it is given.
        needs: what is left for the user to name, or what does not work; or empty.
    """

    packages: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    keeps_home: bool = False
    variables: tuple[tuple[str, str], ...] = ()
    npm_parts: tuple[str, ...] = ()
    has_git_settings: bool = False
    changes_git: bool = False
    needs: str = ""

    @property
    def profile(self) -> Profile:
        """The grants of the profile."""
        return Profile(
            hosts=self.hosts,
            keeps_home=self.keeps_home,
            has_git_settings=self.has_git_settings,
            changes_git=self.changes_git,
        )

    @property
    def grants(self) -> tuple[str, ...]:
        """The profile, in words."""
        hosts = (f"hosts {', '.join(self.hosts)}",) if self.hosts else ()
        home = ("a kept home",) if self.keeps_home else ()
        changes = ("changes to .git in its folders",) if self.changes_git else ()
        settings = ("your name and settings of git",) if self.has_git_settings else ()
        git = (*changes, *settings)
        return (*hosts, *home, *git, *(f"{name}={value}" for name, value in self.variables))

    def resolve_variables(self, home_folder: str) -> dict[str, str]:
        """The variables, with the server's home in them."""
        return {
            name: home_folder + value[1:] if value.startswith("~/") else value
            for name, value in self.variables
        }


def package_key(package: Package) -> str:
    """The package whose program runs, as `REGISTRY:NAME`."""
    return f"{package.registry}:{package.name}"


def find_profile(key: str) -> ShippedProfile | None:
    """The profile of a package; None where it is not known.

    Args:
        key: as `key_of` returns it.
    """
    text = FILE.read_text("utf-8")
    if f'"{key}"' not in text:
        return None
    return next((each for each in _read(text) if key in each.packages), None)


def all_shipped() -> tuple[ShippedProfile, ...]:
    """All of them."""
    return tuple(_read(FILE.read_text("utf-8")))


def _read(text: str) -> Iterable[ShippedProfile]:
    for entry in json.loads(text):
        yield ShippedProfile(
            tuple(entry["packages"]),
            tuple(entry.get("hosts", ())),
            bool(entry.get("keep_home")),
            tuple(entry.get("variables", {}).items()),
            tuple(entry.get("npm_parts", ())),
            bool(entry.get("git_settings")),
            bool(entry.get("changes_git")),
            entry.get("needs", ""),
        )
