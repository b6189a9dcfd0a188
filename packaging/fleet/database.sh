#!/bin/sh
# A role without a right beyond one schema, for a new PostgreSQL.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$PIPEGUARD_PASSWORD" -q -U "$POSTGRES_USER" -d postgres <<'END'
CREATE ROLE pipeguard LOGIN PASSWORD :'password';
CREATE DATABASE pipeguard;
\connect pipeguard
CREATE SCHEMA AUTHORIZATION pipeguard;
END
