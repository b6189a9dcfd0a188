"""Attacks that a package tries during its installation; prints one JSON object.

Shipped in hostile packages next to `escape_attempts.py`, and run by their install scripts. An
outcome that begins with "escaped" is a failure.
"""

# ruff: noqa: BLE001
# Everything is tried, and nothing may end it; pathlib would hide which call is made.
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
escapes = importlib.import_module("escape_attempts")  # it lies beside this in the package

# What an installer is given more of than a server: scratch and memory for what it builds.
GIVEN = ("disk ", "memory of its own", "descriptors of its own", "processes")


def own_secrets(canary: str) -> str:
    found = [name for name, value in os.environ.items() if canary in value]
    return f"escaped: {found}" if found else "none"


def others_in(state: str, own: str) -> str:
    """Whatever stands in the state folder next to the way to this package."""
    found = []
    for folder, folders, files in os.walk(state):
        if folder == own:
            folders.clear()
            continue
        found += [os.path.join(folder, name) for name in files]
    return f"escaped: {found}" if found else "nothing there"


def said_done(folder: str) -> str:
    with open(os.path.join(folder, "pipeguard.json"), "w") as file:
        file.write('{"fetched": 1}')
    return "escaped: it says itself that it is whole"


def replaced_done(folder: str) -> str:
    other = os.path.join(folder, "other.json")
    with open(other, "w") as file:
        file.write('{"fetched": 1}')
    os.rename(other, os.path.join(folder, "pipeguard.json"))
    return "escaped: another file says that it is whole"


def put_in(path: str) -> str:
    """Write a file; in its own home that has no effect, as the test checks from outside."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write("poison")
    return "in a home of its own"


def stayed(marker: str) -> str:
    """A process that outlives its installer, looked for from outside."""
    code = "import os, sys, time; os.setsid(); time.sleep(600)"
    nothing = subprocess.DEVNULL  # or its installer would wait for it
    subprocess.Popen(
        [sys.executable, "-c", code, marker], stdin=nothing, stdout=nothing, stderr=nothing
    )
    return "looked for from outside"


def attempts(facts: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """All ways, by name."""
    folder = facts["folder"] = os.environ["INSTALLED_IN"]
    for name, function, *arguments in escapes.attempts(facts):
        if not name.startswith(GIVEN) and name != "state":
            yield name, function, *arguments
    yield "own secrets", own_secrets, facts["canary"]
    yield "state", others_in, facts["state"], folder
    yield "another package", escapes.read, facts["other"]
    yield "another package written", escapes.write, facts["other"]
    yield "beside it", put_in, os.path.join(os.path.dirname(folder), "new", "pipeguard.json")
    yield "its lock", escapes.may_write, f"{folder}.lock"
    yield "said done", said_done, folder
    yield "replaced done", replaced_done, folder
    for path in facts["poisoned"]:
        yield f"put in {path}", put_in, path
    yield "stayed", stayed, facts["marker"]


def main() -> None:
    """Try all attacks, and write the outcomes to the package's folder."""
    with open(os.path.join(HERE, "facts.json")) as file:
        facts = json.load(file)
    outcomes = {}
    for name, function, *arguments in attempts(facts):
        try:
            outcomes[name] = function(*arguments)
        except Exception as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
    with open(os.path.join(facts["folder"], "outcomes.json"), "w") as file:
        json.dump(outcomes, file)


if __name__ == "__main__":
    main()
