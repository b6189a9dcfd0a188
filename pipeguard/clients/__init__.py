"""MCP clients: one YAML file for each, and the engine that edits their files and undoes it.

A client is a file here whose name ends in `.yaml` (`catalog` says what it may hold). Nothing is
registered. All that the code knows of a client stands in it.
"""
