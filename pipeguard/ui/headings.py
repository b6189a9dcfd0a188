"""Headings of stopped calls and results, for somebody who has never heard of the rule."""

import os
from functools import cache
from pathlib import Path

import yaml
from markupsafe import Markup

from pipeguard.state.exceptions import STOPPED, AuditedEvent, is_wall, stopping
from pipeguard.ui.evidence import find_target
from pipeguard.ui.text import foreign, sentence, show_own

POISONED = "poisoned: "
TARGET_CHARS = 40  # in a heading and in the list


@cache
def _words() -> dict[str, dict[str, str]]:
    """The table next to this file."""
    text = Path(__file__).with_suffix(".yaml").read_bytes()
    words: dict[str, dict[str, str]] = yaml.safe_load(text)
    return words


def make_heading(event: AuditedEvent, rule: str, *, is_waiting: bool = False) -> Markup:
    """Describe an event in a sentence.

    Args:
        event: the event.
        rule: the rule that decided it.
        is_waiting: True for a call that still waits.
    """
    is_answer, words = event.kind in {"result", "error"}, _words()
    names = ("to_client", "to_server") if is_answer else ("to_server", "to_client")
    tables = [words["asks"]] if is_waiting else [words[name] for name in names]
    keys = (rule, rule.partition(".")[0], "")
    found = (table[key] for key in keys for table in tables if key in table)
    template = next(found, f"A {'result' if is_answer else 'call'} of {{tool}} was stopped")
    stopped = stopping(event)
    finding = stopped[0] if stopped else {}
    secrets = (each for each in stopped if each["rule"].startswith("secrets."))
    if len({(each.get("pointer"), each.get("excerpt")) for each in secrets}) > 1:
        template = words["several"].get(template, template)
    if event.action not in STOPPED and not is_wall(rule):
        for was, now in words["passed"].items():
            template = template.replace(was, now)
    tool = event.tool or finding.get("tool", "") or event.method or "a message"
    values = {"tool": foreign(tool), "server": show_own(event.server)}
    target = find_target([*stopped, *event.findings])
    named = "" if is_wall(rule) else finding.get("path") or finding.get("host")
    subject = named or find_subject(finding)
    values["subject"] = foreign(subject) if subject else Markup("a file or an address")
    for name, part in words["with_target" if target else "without_target"].items():
        values[name] = sentence(part, target=foreign(target, TARGET_CHARS), **values)
    return sentence(template, **values)


def describe_reason(reason: str) -> str:
    """Explain why a definition is held."""
    if reason.startswith(POISONED):
        return f"the rule {reason.removeprefix(POISONED)} found something in its words"
    words, reasons = _words()["reasons"], reason.removeprefix("drift: ").split(", ")
    return "; ".join(words.get(each, each) for each in reasons)


def find_subject(finding: dict[str, str]) -> str:
    """Return the host with its port, the path, or the port that a finding is about."""
    subject = finding.get("excerpt", "") or finding.get("host") or finding.get("path", "")
    home = os.path.expanduser("~")  # as a policy writes a path
    return f"~{subject[len(home) :]}" if subject.startswith(f"{home}/") else subject
