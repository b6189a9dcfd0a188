"""The forms of a report: each module in `reports` has `render(assessment)`."""

from __future__ import annotations

import importlib

from pipeguard.assess.assessing import Assessment


def report(form: str, assessment: Assessment) -> str:
    """A report in the form of this name, which is a module in `reports`."""
    text = importlib.import_module(f"pipeguard.assess.reports.{form}").render(assessment)
    assert isinstance(text, str)  # noqa: S101  a test calls each
    return text
