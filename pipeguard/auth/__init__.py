"""Logins to remote servers (OAuth 2.1, MCP basic/authorization), and secrets in the keyring.

Judges no frame. Begin with `login`, then `tokens` and `bearer`, which renews a login's tokens;
`sdk` drives the official SDK's flow, and `secrets` has the secrets that users name themselves.
"""
