"""Cases that are data: rows for a test, in `cases.yaml` next to it, by its module and name."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml


def read_cases(module: str) -> dict[str, list[Any]]:
    """Read the cases of a test module, by the names of its tests without `test_`.

    Args:
        module: its `__file__`.
    """
    path = Path(module)
    return {
        name: [tuple(row) if isinstance(row, list) else row for row in rows]
        for name, rows in _read(path.with_name("cases.yaml"))[path.stem].items()
    }


@cache
def _read(path: Path) -> dict[str, dict[str, list[Any]]]:
    cases: dict[str, dict[str, list[Any]]] = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
    return cases
