"""Outcomes of the actions of a developer's day, and of attacks that resemble them."""
