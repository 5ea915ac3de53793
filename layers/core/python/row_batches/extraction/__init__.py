"""Extracts named fields from answers of any shape, with a configured, ordered list of methods."""
