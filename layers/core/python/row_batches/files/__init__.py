"""Reads the user's file and writes the result files."""
