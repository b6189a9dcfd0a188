"""Tests of pipeguard.replay."""
