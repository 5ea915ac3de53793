"""Takes results out of output objects, and follows jobs to their end."""
