"""The checks: each module has its CHECKS and `look(subject)`, which yields what they find."""
