"""JUnit's XML for CI systems: a case for each check, failed by each of its findings."""

import re
import shlex
from xml.etree import ElementTree as Xml

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.assess.values import PostureFinding
from pipeguard.firewall.finding import Severity

# Characters that XML 1.0 does not allow (section 2.2).
_NONE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(assessment: Assessment) -> str:
    """A suite of all checks; findings of a baseline, and those of severity info, are skipped."""
    cases: list[Xml.Element] = []
    failures = skipped = 0
    by_check: dict[str, list[PostureFinding]] = {name: [] for name in sorted(checks())}
    for finding in assessment.findings:
        by_check[finding.check].append(finding)
    for name, findings in by_check.items():
        if not findings:
            cases.append(Xml.Element("testcase", classname="pipeguard.assess", name=name))
        for finding in findings:
            skip = assessment.is_known(finding) or finding.severity is Severity.INFO
            failures += not skip
            skipped += skip
            cases.append(_case(assessment, finding, skip=skip))
    counts = {"tests": str(len(cases)), "failures": str(failures), "skipped": str(skipped)}
    suite = Xml.Element("testsuite", {"name": "pipeguard assess", "errors": "0", **counts})
    suite.extend(cases)
    suites = Xml.Element("testsuites", {"name": "pipeguard", "errors": "0", **counts})
    suites.append(suite)
    Xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(suites, encoding="unicode")


def _case(assessment: Assessment, finding: PostureFinding, *, skip: bool) -> Xml.Element:
    where = " ".join(filter(None, (finding.client, finding.server, assessment.where(finding))))
    case = Xml.Element(
        "testcase", classname="pipeguard.assess", name=_clean(f"{finding.check}: {where}")
    )
    if finding.file:
        case.set("file", _clean(assessment.file(finding)))
        case.set("line", str(finding.line or 1))
    inner = Xml.SubElement(case, "skipped" if skip else "failure")
    inner.set("message", _clean(finding.message))
    if not skip:
        inner.set("type", finding.severity.name.lower())
    fix = f"\n$ {shlex.join(finding.fix)}" if finding.fix else ""
    inner.text = _clean(f"{where}\n{checks()[finding.check].why}\n{finding.message}{fix}")
    return case


def _clean(text: str) -> str:
    return _NONE.sub("\ufffd", text)
