"""Replicas on one PostgreSQL, as real processes."""
