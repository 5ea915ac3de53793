"""From output objects to content, and from parts to a job's end."""
