"""A stdio MCP server that follows the tests' commands, with only the standard library.

Its methods besides MCP's are named `do/...`. The words of the command line say what it does before
it reads anything. It knows nothing of PipeGuard.
"""

import json
import os
import signal
import sys
import time

CACHED = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
ASKING = {  # as a server may that uses our names
    "resultType": "input_required",
    "inputRequests": {
        "pipeguard": {
            "method": "elicitation/create",
            "params": {
                "mode": "form",
                "message": "Which one?",
                "requestedSchema": {
                    "type": "object",
                    "properties": {"decision": {"type": "string"}},
                },
            },
        }
    },
    "requestState": "pipeguard-theirs",
}
DESCRIPTION = "Returns its text."
KEY = "AKIA" + "Z7QX4M2N5P6R3STV"  # stands for {key} in what is said on stderr


def tool() -> dict[str, object]:
    """The one tool; the tests change its description."""
    text = {"type": "string", "description": "What to return."}
    schema = {"type": "object", "properties": {"text": text}, "required": ["text"]}
    return {"name": "echo", "description": DESCRIPTION, "inputSchema": schema}


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def send(**members: object) -> None:
    write(json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n")


def note(text: str) -> None:
    send(method="notifications/message", params={"level": "info", "data": text})


def escape(path: str) -> None:
    """Leave a grandchild that forked twice, has its own session and ignores SIGTERM."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with open(path, "w") as file:
                file.write(str(os.getpid()))
            signal.pause()
        os._exit(0)
    os.wait()


def wait_for(path: str) -> None:
    """Read nothing until a file is there; a test that dies takes this process with it."""
    while not os.path.exists(path):
        time.sleep(0.01)


def answer(id_: object, method: str, params: dict[str, object]) -> object:  # noqa: C901  a table of methods
    global DESCRIPTION  # noqa: PLW0603  this process is one server
    number = params.get("number", 0)
    text = params.get("text", "")
    assert isinstance(number, int)
    assert isinstance(text, str)
    match method:
        case "initialize" if "stateless" in sys.argv:
            send(id=id_, error={"code": -32601, "message": "no handshake is made here"})
            return None
        case "server/discover" if not {"both", "stateless"}.isdisjoint(sys.argv):
            described = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            return {**CACHED, **described, "serverInfo": {"name": "actor", "version": "1"}}
        case "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}, "logging": {}},
                "serverInfo": {"name": "actor", "version": "1"},
            }
        case "tools/list":
            return {"tools": [tool()], **CACHED}
        case "tools/call":
            arguments = params["arguments"]
            assert isinstance(arguments, dict)
            text = json.dumps(params.get("_meta")) if arguments["text"] == "_meta" else ""
            if str(arguments["text"]).startswith("ask ") and "inputResponses" not in params:
                return ASKING
            if str(arguments["text"]).startswith("progress "):
                meta = params["_meta"]
                assert isinstance(meta, dict)
                report = {"progressToken": meta["progressToken"], "progress": 1}
                send(method="notifications/progress", params=report)
            if str(arguments["text"]).startswith("wait "):
                wait_for(arguments["text"].removeprefix("wait "))
            content = [{"type": "text", "text": text or arguments["text"]}]
            return {"content": content, "resultType": "complete"}
        case "do/echo":
            return {"text": text}
        case "do/describe":
            DESCRIPTION = text
        case "do/environment":
            return dict(os.environ)
        case "do/directory":
            return {"directory": os.getcwd()}
        case "do/pid":
            return {"pid": os.getpid(), "parent": os.getppid()}
        case "do/raw":
            write(text.encode("latin-1"))
        case "do/late":
            wait_for(f"{text}.go")
            with open(text, "rb") as file:
                write(file.read())
            return None
        case "do/say":
            sys.stderr.write(text.replace("{key}", KEY))
            sys.stderr.flush()
        case "do/large":
            return {"text": "word " * (number // 5)}
        case "do/text":
            for _ in range(number // 65536):
                write(b"x" * 65536)
            write(text.encode())
            return None
        case "do/flood":
            for _ in range(number):
                note(text)
        case "do/wait":
            wait_for(text)
        case "do/escape":
            escape(text)
        case "do/half":
            write(f'{{"jsonrpc":"2.0","id":{id_},"resu'.encode())
            sys.exit(number)
        case "do/exit":
            sys.exit(number)
        case "do/kill":
            os.kill(os.getpid(), number)
        case "do/ask":
            send(id="theirs", method="ping")
        case "do/close-stdout":
            os.close(1)
            signal.pause()
        case "do/close-stdin":
            os.close(0)
            send(id=id_, result={})
            wait_for(text)
            sys.exit(number)
        case "do/nothing":
            return None
    return {}


def main() -> None:  # noqa: C901  a table of words
    heard = None
    for word in sys.argv[1:]:
        match word.split("="):
            case ["exit", code]:
                sys.exit(int(code))
            case ["say", text]:
                os.write(2, text.encode())
            case ["banner", text]:
                write(text.encode("latin-1").decode("unicode_escape").encode("latin-1"))
            case ["heard", path]:
                heard = open(path, "ab", buffering=0)
            case ["stubborn"]:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            case ["sleep"]:
                signal.pause()

    while line := sys.stdin.buffer.readline():
        if heard is not None:
            heard.write(line)
        message = json.loads(line)
        if "id" in message and "method" in message:
            result = answer(message["id"], message["method"], message.get("params", {}))
            if result is not None:
                send(id=message["id"], result=result)

    if "stubborn" in sys.argv:
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
