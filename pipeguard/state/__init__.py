"""What outlives a run: pins and audit. Reads verdicts, makes none."""
