"""The tasks that belong to one object: kept while they run, and ended with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks(set[asyncio.Task[None]]):
    """Those that run; an event loop alone would forget them (asyncio.create_task)."""

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start one; it leaves when it is done."""
        task = asyncio.create_task(work)
        self.add(task)
        task.add_done_callback(self.discard)
        return task

    async def end(self) -> None:
        """Cancel those that run, and wait until they are done."""
        for task in list(self):
            task.cancel()
        await asyncio.gather(*self, return_exceptions=True)
