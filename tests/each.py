"""One test over many cases: it continues after a failing case, and names all failures.

For cases that are found or generated, one for each rule, client or module. Cases that are written
out to be read stay with `pytest.mark.parametrize`. Fixtures are the test's: its cases share them.
"""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import pytest

Item = TypeVar("Item")
Test = Callable[..., None]
FAILURES = (Exception, pytest.fail.Exception, pytest.skip.Exception)


class CasesFailedError(AssertionError):
    """The cases that failed, by name and with the traceback of each."""

    def __init__(self, failures: list[tuple[str, str]]) -> None:
        self.failures = failures
        names = ", ".join(name for name, _ in failures)
        tracebacks = "".join(f"\n\n--- {name}\n{text}" for name, text in failures)
        super().__init__(f"fails for {len(failures)}: {names}{tracebacks}")


def each(names: str, cases: Mapping[str, object] | Iterable[object]) -> Callable[[Test], Test]:
    """Make one test of a test and its cases; decorators above each other make all pairs.

    Args:
        names: the argument that takes a case, or several, between commas, that take its members.
        cases: the cases by their names, or cases whose text is their name.

    Raises:
        ValueError: without a case the test would check nothing.
    """
    arguments = names.split(", ")
    named = [*cases.items()] if isinstance(cases, Mapping) else [(str(one), one) for one in cases]
    if not named:
        raise ValueError(f"no case for `{names}`")

    def decorate(test: Test) -> Test:
        @functools.wraps(test, updated=())
        def run(**fixtures: object) -> None:
            __tracebackhide__ = True
            failures: list[tuple[str, str]] = []
            for name, case in named:
                values = dict(zip(arguments, _members(case, arguments), strict=True))
                try:
                    test(**fixtures, **values)
                except CasesFailedError as error:
                    failures += [(f"{name}-{inner}", text) for inner, text in error.failures]
                except FAILURES as error:
                    # A case that is skipped would take those after it along, unseen.
                    failures.append((name, _told(error)))
            if failures:
                raise CasesFailedError(failures)

        signature = inspect.signature(test)
        left = [one for name, one in signature.parameters.items() if name not in arguments]
        run.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        run.pytestmark = getattr(test, "pytestmark", [])  # type: ignore[attr-defined]
        return run

    return decorate


def some(items: Iterable[Item]) -> list[Item]:
    """The items of a loop, which would assert nothing without any."""
    found = [*items]
    assert found, "nothing to loop over"
    return found


def _members(case: object, arguments: list[str]) -> tuple[object, ...]:
    if len(arguments) == 1:
        return (case,)
    assert isinstance(case, tuple)
    return case


def _told(error: BaseException) -> str:
    inside = error.__traceback__ and error.__traceback__.tb_next  # below the loop itself
    return "".join(traceback.format_exception(type(error), error, inside)).rstrip()
