"""An MCP client over stdio that adds as little as possible to what is measured."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Self

LIMIT_BYTES = 2**24  # of one line
PATIENCE_SECONDS = 120.0  # for one answer; only a failure waits so long

Object = dict[str, object]


class Client:
    """One process, spoken to over its standard input and output.

    Attributes:
        process: the server itself, or the gateway.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._waiting: dict[int, asyncio.Future[Object]] = {}
        self._count = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], log: int) -> Self:
        """Start a process, and shake hands with it."""
        client = cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=dict(environment),
                limit=LIMIT_BYTES,
            )
        )
        info = {"name": "benchmark", "version": "1"}
        params: Object = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        await client.request("initialize", params)
        client._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return client

    async def request(self, method: str, params: Object) -> Object:
        """Ask something, and wait for the answer."""
        self._count += 1
        waiting = self._waiting[self._count] = asyncio.get_running_loop().create_future()
        self._send({"jsonrpc": "2.0", "id": self._count, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer: Object = await waiting
        return answer

    async def call(self, tool: str, arguments: Object) -> float:
        """Call a tool; return the milliseconds that it took.

        Raises:
            RuntimeError: the answer is an error.
        """
        began = perf_counter()
        answer = await self.request("tools/call", {"name": tool, "arguments": arguments})
        took = (perf_counter() - began) * 1000
        result = answer.get("result")
        if not isinstance(result, dict) or result.get("isError"):
            raise RuntimeError(f"{tool}: {answer}")
        return took

    async def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()
        self._reading.cancel()

    def _send(self, message: Object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            message = json.loads(line)
            waiting = self._waiting.pop(message.get("id"), None)
            if waiting is not None and "method" not in message:
                waiting.set_result(message)
