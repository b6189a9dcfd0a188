"""Tries every property for so many minutes, each round from another seed.

    python -m tests.fuzz --minutes 10

Runs the same properties as the suite, with more examples. A failure is printed as pytest prints
it, with the example that shows it and the seed of its round; the exit code is then 1.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from random import SystemRandom

from tests.fuzz.budget import FACTOR

ROOT = Path(__file__).parents[2]
PATHS = ["tests/core", "tests/fuzz", "tests/config"]
FAILED = 1  # pytest's exit code where a test failed


def main() -> int:
    """Run rounds until the time is up."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10)")
    parser.add_argument("--factor", type=int, default=4, help="examples, times the suite's")
    parser.add_argument("paths", nargs="*", default=PATHS)
    options = parser.parse_args()
    deadline = time.monotonic() + options.minutes * 60
    rounds = failed = 0
    while time.monotonic() < deadline:
        seed = SystemRandom().randrange(2**32)
        code = run(options.paths, options.factor, seed, deadline - time.monotonic())
        rounds += 1
        failed += code is not None and code != 0
        told = {None: "time is up", 0: "found nothing"}.get(code, f"pytest said {code}")
        print(f"round {rounds}, seed {seed}: {told}", flush=True)
        if code is not None and code > FAILED:
            break  # the properties could not be run at all
    print(f"{rounds} rounds, {failed} with a failure")
    return 1 if failed else 0


def run(paths: list[str], factor: int, seed: int, seconds: float) -> int | None:
    """Run one round; return pytest's exit code, or None if the time was up first."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-m", "hypothesis", *paths]
    environment = {**os.environ, FACTOR: str(factor)}
    try:
        done = subprocess.run(
            [*command, f"--hypothesis-seed={seed}", "-p", "no:cacheprovider"],
            cwd=ROOT,
            env=environment,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
