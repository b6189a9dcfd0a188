"""For programs."""

from __future__ import annotations

import json
import shlex

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.core.unicode.display import visible
from pipeguard.version import VERSION

FORMAT_VERSION = 1


def render(assessment: Assessment) -> str:
    """All of it as one JSON object."""
    grade = assessment.grade
    told = {
        "version": FORMAT_VERSION,
        "pipeguard": VERSION,
        "repository": assessment.subject.is_repository,
        "score": grade.score,
        "grade": grade.letter,
        "costs": grade.costs,
        "counts": {one.name.lower(): count for one, count in assessment.counts().items()},
        "findings": [
            {
                "id": one.check,
                "severity": one.severity.name.lower(),
                "title": checks()[one.check].title,
                "message": one.message,
                "file": assessment.file(one),
                "line": one.line or None,
                "client": one.client,
                "server": one.server,
                "why": checks()[one.check].why,
                "fix": checks()[one.check].mend,
                "command": shlex.join(one.mend),
                "page": checks()[one.check].page,
                "fingerprint": assessment.fingerprint(one),
                "known": assessment.is_known(one),
            }
            for one in assessment.findings
        ],
        "servers": [
            {
                "name": visible(one.server),
                "what": visible(one.what),
                "clients": one.clients,
                "state": one.state.value,
                "touches": one.touches,
                "asked": one.asked,
                "tools": one.tools,
            }
            for one in assessment.reached
        ],
    }
    return json.dumps(told, indent=2)
