"""Logging in to remote servers (OAuth 2.1, MCP basic/authorization); judges no frame."""
