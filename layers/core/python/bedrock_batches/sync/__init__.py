"""Brings content into the lake."""
