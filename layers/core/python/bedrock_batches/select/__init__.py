"""Selecting records from the lake."""
