"""`python -m benchmarks.search`: checks the queries against what the servers list."""

import argparse
import sys
from collections import Counter

from benchmarks.search import queries
from benchmarks.search.servers import definitions


def main() -> None:
    """Check the queries."""
    arguments()
    sys.exit(check())


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--check", action="store_true", help="check the queries; 1 if one is wrong")
    return parser.parse_args()


def check() -> int:
    """Print what the set holds and what is wrong with it: 1 where something is."""
    loaded, listed = queries.load(), definitions()
    wrong = list(queries.problems(loaded, listed))
    parts = Counter(query.part.value for query in loaded)
    print(
        f"{sum(map(len, listed.values()))} tools of {len(listed)} servers; {len(loaded)} queries:"
    )
    print(", ".join(f"{count} {part}" for part, count in parts.items()))
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
