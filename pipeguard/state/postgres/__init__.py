"""The store that replicas share, in PostgreSQL: the same tables as the file, and a few more.

Nothing of it is imported unless `--store` or `PIPEGUARD_STORE` names one.
"""
