"""Profiles of known servers: `profiles.json`, by the package that is run.

JSON, because a server waits while it is read, and to import a reader of YAML takes 12 ms. Each was
tried with the package itself; none gives a file of the user's.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeguard.isolation.profile import Profile

FILE = Path(__file__).with_name("profiles.json")


class ShippedProfile(NamedTuple):
    """The profile of one known server, as `profiles.json` has it.

    Attributes:
        packages: `REGISTRY:NAME`.
        hosts: hosts it may connect to.
        keeps_home: True if its home is kept between runs.
        variables: set unless the user sets them; `~` is its home.
        npm_parts: folders of a PyPI package, as patterns, into which it would install npm packages
            on its first run. An isolated one cannot, so they are fetched with it.
        serves_git: True if it is a git server (Profile).
        needs: grants left for the user to name, or what does not work; or empty.
    """

    packages: Sequence[str]
    hosts: Sequence[str] = ()
    keeps_home: bool = False
    variables: Mapping[str, str] = {}
    npm_parts: Sequence[str] = ()
    serves_git: bool = False
    needs: str = ""

    @property
    def profile(self) -> Profile:
        """The grants of the profile."""
        home = self.keeps_home
        git = self.serves_git
        return Profile(hosts=tuple(self.hosts), keeps_home=home, serves_git=git)

    @property
    def grants(self) -> tuple[str, ...]:
        """A description of the profile's grants."""
        hosts = (f"hosts {', '.join(self.hosts)}",) if self.hosts else ()
        home = ("a kept home",) if self.keeps_home else ()
        git = ("changes to .git in its folders", "your name and settings of git")
        variables = (f"{name}={value}" for name, value in self.variables.items())
        return (*hosts, *home, *(git if self.serves_git else ()), *variables)

    def resolve_variables(self, home_folder: str) -> dict[str, str]:
        """The variables, with the server's home in them."""
        return {
            name: home_folder + value[1:] if value.startswith("~/") else value
            for name, value in self.variables.items()
        }


def find_profile(key: str) -> ShippedProfile | None:
    """The profile of a package; None if PipeGuard has none.

    Args:
        key: as `Package.key`.
    """
    return next((each for each in all_shipped() if key in each.packages), None)


def all_shipped() -> list[ShippedProfile]:
    """All shipped profiles."""
    return [ShippedProfile(**entry) for entry in json.loads(FILE.read_text("utf-8"))]
