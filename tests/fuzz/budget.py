"""The number of tries of each property: few in the suite, the same ones each time; more by hand.

Knows Hypothesis' profiles and the runner's wish; knows no property.
"""

import os

from hypothesis import HealthCheck, settings

FACTOR = "PIPEGUARD_FUZZ_FACTOR"  # of the suite's examples; less than 1 but in `make exhaustive`

settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("fuzz", settings.get_profile("ci"), derandomize=False)


def load_profile() -> None:
    """Load the suite's profile for every property, also for those that are not fuzzed."""
    settings.load_profile("ci")


def tried(examples: int) -> settings:
    """Return the settings of a property that the suite tries this often."""
    profile = settings.get_profile("ci" if _factor() <= 1 else "fuzz")
    return settings(profile, max_examples=count_tries(examples))


def count_tries(examples: int) -> int:
    """Return how often the suite tries this, of so many examples."""
    return max(1, int(examples * _factor()))


def _factor() -> float:
    return float(os.environ.get(FACTOR, "1"))
