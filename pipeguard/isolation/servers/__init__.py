"""One isolated server: its start, the sources of its grants, and the known facts about it."""
