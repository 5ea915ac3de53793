"""From content to the lake."""
