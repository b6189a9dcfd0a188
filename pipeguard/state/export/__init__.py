"""The audit sent elsewhere: to files, or to a collector of OpenTelemetry; no row is lost."""
