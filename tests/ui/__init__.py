"""Tests of the page: a real `pipeguard ui` on a terminal, and a real Chromium."""
