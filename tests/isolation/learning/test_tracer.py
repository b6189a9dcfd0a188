"""Parsing of strace's lines. isolation/learning/tracer.py."""

import os
import socket
from pathlib import Path

import pytest

from pipeguard.isolation.learning import tracer
from pipeguard.isolation.learning.observed import LISTED, READ, WRITTEN, Observed
from pipeguard.isolation.learning.tracer import MAX_LINE_BYTES, Tracer, obstacle
from tests.each import each

NOBODY = 999_999  # in front of a digit: no process has such a number (proc(5), pid_max)


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def observed(folder: Path, *lines: str) -> Observed:
    """Return the observations from these lines; `«text»` is a text as strace writes it."""
    source, sink = os.pipe()
    saved: list[Observed] = []
    reader = Tracer(source, str(folder), (("/usr",), ()), saved.append)
    reader.start()
    for line in lines:
        parts = line.replace("»", "«").split("«")
        parts[1::2] = map(hexed, parts[1::2])
        os.write(sink, f"{NOBODY}{''.join(parts)}\n".encode())
    os.close(sink)
    reader.close()
    return saved[-1]


@each(
    "lines, files",
    {
        "opened": (['7 open("«a»", O_RDONLY) = 3'], {"a": READ}),
        "listed": (
            ['7 openat(AT_FDCWD<«{here}»>, "«d»", O_RDONLY|O_DIRECTORY) = 3'],
            {"d": LISTED},
        ),
        "to write": (['7 openat(AT_FDCWD, "«a»", O_RDWR|O_CLOEXEC) = 3'], {"a": WRITTEN}),
        "by a folder": (['7 openat(4<«{here}/d»>, "«b»", O_RDONLY) = 5'], {"d/b": READ}),
        "a blank in it": (['7 open("«d/c, "d"»", O_WRONLY) = 5'], {'d/c, "d"': WRITTEN}),
        "moved": (['7 rename("«a»", "«new»") = 0'], {"a": WRITTEN, "new": WRITTEN}),
        "linked": (['7 symlinkat("«a»", 4<«{here}/d»>, "«l»") = 0'], {"d/l": WRITTEN}),
        "run": (['7 execve("«{here}/a»", ["«d»", "«x»"], 0x7ffe /* 9 vars */) = 0'], {"a": READ}),
        "after chdir": (
            ['7 chdir("«d»") = 0', '7 mkdir("«n»", 0777) = 0'],
            {"d": LISTED, "d/n": WRITTEN},
        ),
        "after chdir that failed": (
            ['7 chdir("«d»") = -1 EACCES (Permission denied)', '7 mkdir("«n»", 0777) = 0'],
            {"d": LISTED, "n": WRITTEN},
        ),
        "after two calls at once": (
            [
                '7 open("«a»", O_RDONLY <unfinished ...>',
                "8 fchdir(3) = 0",
                "7 <... open resumed>) = 3",
            ],
            {"a": READ},
        ),
        "without an end": (['7 open("«a»", O_RDONLY <unfinished ...>'], {"a": READ}),
        "not there": (['7 open("«x»", O_RDONLY) = -1 ENOENT (No such file)'], {}),
        "had anyway": (['7 open("«/usr/bin/env»", O_RDONLY) = 3'], {}),
        "no call": (["7 +++ exited with 0 +++", "x", '7 open("«a', "8 openat(, = ?"], {}),
    },
)
def test_files_are_read_out_of_calls(
    lines: list[str], files: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir(exist_ok=True)
    for name in ("a", "d/b"):
        (tmp_path / name).write_text(name)
    seen = observed(tmp_path, *(line.replace("{here}", str(tmp_path)) for line in lines))
    assert seen.files == {str(tmp_path / path): use for path, use in files.items()}


def test_addresses_are_read_out_of_calls_and_get_the_names_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(name: str, *_: object, type: int) -> list[tuple[object, ...]]:
        if name != "api.example":
            raise socket.gaierror(type)
        return [(type, (address, 0)) for address in ("1.1.1.1", "10.0.0.9")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    to = '{{sa_family=AF_INET, sin_port=htons({}), sin_addr=inet_addr("«{}»")}}, 16) = 0'
    six = (
        "{sa_family=AF_INET6, sin6_port=htons(5432), sin6_flowinfo=htonl(0),"
        ' inet_pton(AF_INET6, "«::1»", &sin6_addr), sin6_scope_id=0}, 28) = 0'
    )

    def question(*labels: str) -> str:
        name = "".join(chr(len(label)) + label for label in labels)
        head = "".join(map(chr, [1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
        return f'7 sendto(3<UDP:[1]>, "«{head}{name}\0\0\1\0\1»", 29, 0, NULL, 0) = 29'

    seen = observed(
        tmp_path,
        "7 connect(3<TCP:[1]>, " + to.format(8443, "192.0.2.1"),
        "7 connect(3<TCP:[1]>, " + to.format(443, "1.1.1.1"),
        "7 connect(3<TCP:[1]>, " + to.format(22, "10.0.0.9"),
        "7 connect(3<UDP:[1]>, " + to.format(443, "192.0.2.2"),
        "7 connect(3<TCPv6:[1]>, " + six,
        "7 connect(3<TCP:[1]>, " + to.format(40_000, "127.0.0.1"),
        "7 connect(3<TCP:[1]>, " + to.format(7000, "127.0.0.1"),
        "7 bind(3<TCP:[1]>, " + to.format(7000, "127.0.0.1"),
        '7 connect(3<UNIX-STREAM:[1]>, {sa_family=AF_UNIX, sun_path="«/run/x»"}, 110) = 0',
        question("api", "example"),
        question("nowhere", "example"),
        '7 connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("«x»")}',
    )
    assert seen.hosts == ["192.0.2.1:8443", "api.example", "api.example:22=private"]
    assert seen.loopback == [5432]


def test_a_line_without_an_end_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    endless = '7 open("' + "x" * (2 * MAX_LINE_BYTES)
    assert observed(tmp_path, endless, '7 open("«a»", O_RDONLY) = 3').files == {
        str(tmp_path / "a"): READ
    }


def test_without_strace_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(tracer, "USUAL_PATH", "/nowhere")
    assert obstacle() == "it needs strace: install the package `strace`"
