"""State that outlives a run: pins, approvals, tokens and the audit, in one SQLite file.

Reads verdicts and makes none. Refuses files and folders that another user could have written.
Begin with `store`, then `recorder`, which writes behind the pump, then `audit`.
"""
