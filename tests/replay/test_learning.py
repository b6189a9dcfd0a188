"""Policies that records teach: only from calls that passed, and whatever tools are called."""

from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from click.testing import CliRunner

from pipeguard.cli import cli
from pipeguard.config.policy_file import PolicyScope, parse_policy
from tests.replay.lines import answer, call, sent, write_record

LEARNED = "tools:\n  allow:\n  - get\n  - read\n# get: a.example.com\n# read: /srv/docs, notes\n"
PLAIN = [*"*'\"\\#?~|@%`[]é😀", "&a", "!!x", "[!x]", "null", "1", "*a", "{a:b}", "x: y", "a b" * 99]
UNSAFE = ["a\nmode: observe", "li\u2028ne", *"\x85\x7f\ufeff", " a", "a ", "", "\u0430dmin"]


def test_only_calls_that_passed_teach(tmp_path: Path) -> None:
    write_record(
        tmp_path / "r.jsonl",
        sent("client", call(1, "read", {"path": "/srv/docs/a.txt"})),
        sent("client", call(2, "read", {"path": "notes"}), action="redact"),
        sent("client", call(3, "read", {"path": "/etc/passwd"}), action="block"),
        sent("client", call(4, "drop"), action="ask"),
        *(sent("server", call(5, "forged")), sent("client", answer(5))),
    )
    fetch = sent("client", call(1, "get", {"url": "https://a.example.com/x"}), server="web")
    write_record(tmp_path / "s.jsonl", fetch)
    done = CliRunner().invoke(cli, ["replay", "--learn", str(tmp_path)])
    assert (done.output, done.exit_code) == (LEARNED, 0)


def test_names_of_tools_are_nothing_but_names(tmp_path: Path) -> None:
    names = PLAIN + UNSAFE
    calls = (sent("client", call(1, name, {"path": f"/d/{name}"})) for name in names)
    record = write_record(tmp_path / "r.jsonl", *calls)
    text = CliRunner().invoke(cli, ["replay", "--learn", str(record)]).output
    assert all(line.isprintable() for line in text.split("\n"))
    read = parse_policy(text, "p.yaml", PolicyScope.USER, today=date(2026, 12, 1))
    globs = read.layer.tools_allow
    assert [name for name in names if any(fnmatchcase(name, glob) for glob in globs)] == PLAIN
