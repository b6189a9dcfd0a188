"""A real PostgreSQL on a port of loopback, which tests may stop and freeze."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Self

import psycopg

from tests.launch.processes import PATIENCE_SECONDS, until
from tests.programs import find_program

ADMINISTRATOR = "postgres"
NUMBERS = count(1)  # of databases
END_SECONDS = 60.0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def is_taken(port: int) -> bool:
    """True if somebody listens on a port of loopback."""
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Cluster:
    """A PostgreSQL of its own, started. It refuses root, so root runs it as another user.

    Nothing of it survives a crash of the machine: it syncs nothing.
    """

    def __init__(self, *settings: str) -> None:
        self.port = free_port()
        self._settings = settings
        self._user = _other_user()
        self._folder = Path(tempfile.mkdtemp(prefix="pipeguard-postgres-"))
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._data = self._folder / "data"
        words = ("--username", ADMINISTRATOR, "--auth=trust", "--no-sync", "--encoding=UTF8")
        made = self._run("initdb", "--pgdata", str(self._data), "--locale=C.UTF-8", *words)
        assert made.wait() == 0, self.said()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = ("fsync=off", "unix_socket_directories=", "listen_addresses=127.0.0.1")
        words = [word for each in (*settings, *self._settings) for word in ("-c", each)]
        self._server = self._run("postgres", "-D", str(self._data), "-p", str(self.port), *words)
        until(self._answers, "PostgreSQL answers")

    def stop(self) -> None:
        """Cut all connections, and refuse new ones."""
        if self._server.poll() is None:
            self.thaw()
        self._server.send_signal(signal.SIGINT)
        self._server.wait(END_SECONDS)

    def freeze(self) -> None:
        """Leave all connections open, and answer nothing."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._signal_all(signal.SIGCONT)

    def said(self) -> str:
        """Its log so far."""
        return (self._folder / "log").read_text(errors="replace")

    def execute(self, statement: str, database: str = ADMINISTRATOR) -> list[tuple[object, ...]]:
        """Run a statement as the administrator; its rows."""
        with self._connect(database) as connection:
            rows = connection.execute(statement.encode())
            return rows.fetchall() if rows.description else []

    def create_database(self) -> str:
        """Create a database, and a role with no right beyond a schema in it; their address."""
        name = f"fleet{next(NUMBERS)}"
        self.execute(f"CREATE ROLE {name} LOGIN")
        self.execute(f"CREATE DATABASE {name}")
        self.execute(f"CREATE SCHEMA AUTHORIZATION {name}", name)
        return f"postgresql://{name}@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def pool(self, database: str) -> Iterator[str]:
        """Run pgbouncer before a database, in transaction mode; its address of the database."""
        port, name = free_port(), database.rpartition("/")[2]
        (self._folder / "users").write_text(f'"{name}" ""')
        (self._folder / "pool.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"pool_mode = transaction\nauth_type = trust\nauth_file = users\n"
        )
        with self._run("pgbouncer", "pool.ini") as running:
            try:
                until(lambda: is_taken(port), "pgbouncer listens")
                yield f"postgresql://{name}@127.0.0.1:{port}/{name}"
            finally:
                running.terminate()

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=ADMINISTRATOR,
            dbname=database,
            autocommit=True,
            connect_timeout=int(PATIENCE_SECONDS),
        )

    def _answers(self) -> bool:
        assert self._server.poll() is None, self.said()
        try:
            self._connect(ADMINISTRATOR).close()
        except psycopg.OperationalError:
            return False
        return True

    def _signal_all(self, number: int) -> None:
        """Send a signal to the server and its processes, which lead sessions of their own."""
        os.kill(self._server.pid, number)
        words = ("ps", "-A", "-o", "pid=,ppid=")
        listed = subprocess.run(words, capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            process, parent = line.split()
            if parent == str(self._server.pid):
                with suppress(ProcessLookupError):  # it has ended
                    os.kill(int(process), number)

    def _run(self, program: str, *words: str) -> "subprocess.Popen[bytes]":
        user = self._user
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [find_program(program) or program, *words],
                cwd=self._folder,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else (),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def _other_user() -> pwd.struct_passwd | None:
    """Somebody for root to run the server as; None for other users."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]
