"""One isolated server: how it is started, what gives it what, and what is known of it."""
