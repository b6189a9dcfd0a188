"""What `pipeguard serve --check` finds out without starting a server or listening anywhere."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import replace

from pipeguard.config.effective_policy import load_wrap_policy
from pipeguard.config.options import WrapOptions
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.gateway.front import IDLE_SECONDS, MAX_SESSIONS
from pipeguard.gateway.servers_file import ServersFile
from pipeguard.gateway.serving import ServeOptions
from pipeguard.isolation.entry_check import missing_paths
from pipeguard.log import say
from pipeguard.runtime.endpoints import admission_of, server_context
from pipeguard.runtime.numbers import number_of
from pipeguard.state.paths import existing_store
from pipeguard.state.store import Store
from pipeguard.state.tokens import TokenReader


def check(options: ServeOptions) -> ServersFile:
    """Read all that a start would read.

    Returns:
        The servers that would start, and the mode that they would be served in.

    Raises:
        PipeGuardError: a file or an option is wrong.
    """
    policy = load_wrap_policy(options.wrap)
    file = options.sources.read(os.environ)
    for server in file.servers:
        try:
            server.launched()
        except PipeGuardError as error:
            raise PolicyError(f"the server {server.name}: {error}") from None
    if "--listen" in options.wrap.values:
        _check_listening(options.wrap, policy.limits.frame_bytes)
    missing = [
        f"the server {server.name}: {why}"
        for server in file.servers
        if server.isolate is not None
        for why in missing_paths(server.isolate)
    ]
    return replace(file, mode=options.mode or file.mode, notes=(*file.notes, *missing))


def _check_listening(options: WrapOptions, limit_bytes: int) -> None:
    path = existing_store()
    with ExitStack() as stack:
        stored = None
        if path is not None:
            stored = stack.enter_context(closing(TokenReader(Store.open(path), say)))
        admission_of(options, os.environ, limit_bytes, stored)
    server_context(options)
    number_of(options, "--max-sessions", MAX_SESSIONS)
    number_of(options, "--idle-timeout", IDLE_SECONDS)
