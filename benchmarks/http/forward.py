"""The least that a hop can be: `forward.py --listen HOST:PORT --upstream URL` copies bytes.

It gives the lower bound of the figures, and shows that the benchmark and the tests of the hop work.
It accepts the command line of `pipeguard wrap`, and ignores other options.
"""

import argparse
import asyncio
import sys
from contextlib import suppress
from urllib.parse import urlsplit

READ_BYTES = 65536


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the source ends or the sink is gone."""
    with suppress(ConnectionError):
        while data := await source.read(READ_BYTES):
            sink.write(data)
            await sink.drain()
    sink.close()


async def serve(listen: str, upstream: str) -> None:
    """Forward each connection to the host of the URL."""
    host, _, port = listen.rpartition(":")
    target = urlsplit(upstream)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            source, sink = await asyncio.open_connection(target.hostname, target.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, sink), copy(source, writer))

    server = await asyncio.start_server(connected, host, int(port))
    taken = server.sockets[0].getsockname()[1]
    print(f"forward: listening on http://{host}:{taken}{target.path}", file=sys.stderr, flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="forward.py", description=__doc__)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--upstream", required=True)
    options, _ = parser.parse_known_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(options.listen, options.upstream))


if __name__ == "__main__":
    main()
