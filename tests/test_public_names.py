"""Checks the public names: their list, that they cost nothing until used, that they work."""

import subprocess
import sys

import pytest

import pipeguard

NAMES = {
    *("Action", "Confidence", "Direction", "Engines", "Finding", "Frame", "Guard", "Policy"),
    *("PipeGuardError", "Session", "Severity", "Verdict", "load_engines", "make_guard"),
    "__version__",
}


def test_the_public_names_are_these() -> None:
    assert set(pipeguard.__all__) == NAMES == set(dir(pipeguard))


def test_every_public_name_is_the_one_of_its_module() -> None:
    public = {name: getattr(pipeguard, name) for name in sorted(NAMES - {"__version__"})}
    homes = {name: sys.modules[found.__module__] for name, found in public.items()}
    assert [name for name, home in homes.items() if getattr(home, name) is not public[name]] == []


def test_there_are_no_others() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gateway'"):
        pipeguard.Gateway  # noqa: B018  the look itself is what fails


def test_importing_the_package_loads_nothing_but_its_version() -> None:
    code = "import sys, pipeguard; print([n for n in sys.modules if n.startswith('pipeguard.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['pipeguard.version']"
