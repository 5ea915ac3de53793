"""Adapters to AWS that both capabilities use."""
