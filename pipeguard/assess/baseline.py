"""The baseline: a file of fingerprints, so that a check fails only on new findings."""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeguard.assess.assessing import Assessment
from pipeguard.errors import InputError

VERSION = 1
MAX_FILE_BYTES = 16 * 2**20


def read(path: Path) -> frozenset[str]:
    """The fingerprints in a file: a baseline, or any JSON report.

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be read, or is of another kind.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} is too large for a baseline.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the baseline {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"the baseline {path} is not JSON.") from None
    findings = content.get("findings") if isinstance(content, dict) else None
    if not isinstance(findings, list):
        raise InputError(f"the baseline {path} has no list of findings.")
    fingerprints = (
        finding.get("fingerprint") for finding in findings if isinstance(finding, Mapping)
    )
    return frozenset(text for text in fingerprints if isinstance(text, str))


def write(path: Path, assessment: Assessment) -> None:
    """Write a baseline: the fingerprint of each finding, and for people check, file and server.

    Raises:
        InputError: the file cannot be written.
    """
    findings = [
        {
            "fingerprint": assessment.fingerprint(finding),
            "check": finding.check,
            "where": assessment.file(finding),
            "server": finding.server,
        }
        for finding in assessment.findings
    ]
    text = json.dumps({"version": VERSION, "findings": findings}, indent=2)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"the baseline {path} cannot be written: {error.strerror}.") from None
