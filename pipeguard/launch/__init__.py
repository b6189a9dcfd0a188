"""How a server starts, is confined and ends; knows nothing of messages, rules or policy."""
