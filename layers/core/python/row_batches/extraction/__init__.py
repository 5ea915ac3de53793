"""Extraction by configuration: named fields out of answers of any shape, by an ordered list of methods."""
