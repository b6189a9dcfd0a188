"""The tasks that belong to one object: kept while they run, and ended with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks(set[asyncio.Task[None]]):
    """Those that run; an event loop alone would forget them (asyncio.create_task).

    Args:
        failed: called once one of them ended with an error that nobody expected.
    """

    def __init__(self, failed: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._failed = failed

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start one; it leaves when it is done."""
        task = asyncio.create_task(work)
        self.add(task)
        task.add_done_callback(self._end_one)
        return task

    def _end_one(self, task: asyncio.Task[None]) -> None:
        self.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        told = {"message": "a task of a channel failed", "exception": error, "task": task}
        asyncio.get_running_loop().call_exception_handler(told)
        if self._failed is not None:
            self._failed()

    async def end(self) -> None:
        """Cancel those that run, and wait until they are done."""
        for task in list(self):
            task.cancel()
        await asyncio.gather(*self, return_exceptions=True)
