"""The checks: each module has its CHECKS, and `look(target)`, which yields their findings."""
