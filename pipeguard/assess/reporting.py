"""The forms of a report, found in their folder: each module has `render(assessment)`."""

from __future__ import annotations

import importlib

from pipeguard.assess.assessing import Assessment


def report(form: str, assessment: Assessment) -> str:
    """A report in one form: the name of a module in `reports`."""
    text = importlib.import_module(f"pipeguard.assess.reports.{form}").render(assessment)
    assert isinstance(text, str)  # noqa: S101  a test calls each
    return text
