"""Targets: finds them, calls them and reads their answers."""
