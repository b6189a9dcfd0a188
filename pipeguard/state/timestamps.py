"""Moments as the store has them: ISO 8601 in UTC with a Z, so that texts compare as times do."""

from __future__ import annotations

import re
from functools import lru_cache
from time import gmtime, strftime, time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime


def utc_text(moment: datetime) -> str:
    """A moment as text, with milliseconds."""
    from datetime import UTC

    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_utc_text(seconds: float) -> str:
    """Write seconds since the epoch, in a third of the time: each verdict has one."""
    whole = int(seconds)
    return f"{_to_the_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


def second_text(seconds: float) -> str:
    """Write seconds since the epoch, to the second."""
    return f"{_to_the_second(int(seconds))}Z"


@lru_cache(maxsize=4)  # the verdicts of one batch fall into one second or two
def _to_the_second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def now_text() -> str:
    """The current time, to the second."""
    return second_text(time())


def exact_now_text() -> str:
    """The current time, to the millisecond."""
    return to_utc_text(time())


def today() -> date:
    """Return the date in the user's own calendar."""
    from datetime import date

    return date.today()  # noqa: DTZ011  see above


def parse_moment(text: str) -> str:
    """A moment in the form of the store, given as such or as an age: `2h`, `7d`, `2026-03-02`.

    Raises:
        ValueError: the text is neither.
    """
    from datetime import UTC, datetime, timedelta

    ago = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    try:
        if ago:
            unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[ago[2]]
            moment = datetime.now(UTC) - timedelta(**{unit: int(ago[1])})
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return utc_text(moment)
    except OverflowError as error:
        raise ValueError(text) from error


def from_utc_text(text: str) -> float:
    """Seconds since the epoch; raises ValueError for a text that is not a time."""
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()
