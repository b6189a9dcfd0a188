"""The tasks of one object, cancelled with it, and the pauses between their attempts."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.2
MOST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 1.0  # a connection or stream that lasted longer is taken for healthy
REOPEN_SECONDS = 30.0  # for a server to answer our own opening


class Tasks(set[asyncio.Task[Any]]):
    """The running tasks; an event loop keeps weak references only (asyncio.create_task).

    Args:
        failed: called once a task has ended with an unexpected error.
    """

    def __init__(self, failed: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._failed = failed

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task; it is removed when it is done."""
        task = asyncio.create_task(work)
        self.add(task)
        task.add_done_callback(self._remove)
        return task

    def _remove(self, task: asyncio.Task[Any]) -> None:
        self.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        context = {"message": "a task of a channel failed", "exception": error, "task": task}
        asyncio.get_running_loop().call_exception_handler(context)
        self._failed()

    async def end(self) -> None:
        """Cancel the running tasks, and wait until they are done."""
        for task in list(self):
            task.cancel()
        await asyncio.gather(*self, return_exceptions=True)


async def try_often(
    attempt: Callable[[], Awaitable[T]], errors: type[Exception], is_final: Callable[[Any], bool]
) -> T:
    """Try up to `ATTEMPTS` times, with pauses, while an attempt fails with such an error."""
    for pause_seconds in islice(backoff(), ATTEMPTS - 1):
        try:
            return await attempt()
        except errors as error:
            if is_final(error):
                raise
        await asyncio.sleep(pause_seconds)
    return await attempt()


def backoff() -> Iterator[float]:
    """Yield the seconds to wait before each new attempt: doubled each time, with jitter."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311  so that clients do not come at once
        pause = min(2 * pause, MOST_PAUSE_SECONDS)
