"""The tasks of one object: referenced while they run, and cancelled with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks(set[asyncio.Task[None]]):
    """The running tasks; an event loop keeps weak references only (asyncio.create_task).

    Args:
        failed: called once a task has ended with an unexpected error.
    """

    def __init__(self, failed: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._failed = failed

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task; it is removed when it is done."""
        task = asyncio.create_task(work)
        self.add(task)
        task.add_done_callback(self._remove)
        return task

    def _remove(self, task: asyncio.Task[None]) -> None:
        self.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        context = {"message": "a task of a channel failed", "exception": error, "task": task}
        asyncio.get_running_loop().call_exception_handler(context)
        if self._failed is not None:
            self._failed()

    async def end(self) -> None:
        """Cancel the running tasks, and wait until they are done."""
        for task in list(self):
            task.cancel()
        await asyncio.gather(*self, return_exceptions=True)
