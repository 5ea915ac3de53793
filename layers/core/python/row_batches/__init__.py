"""Row batches: each row of a file through an agent or a tool, and back into one file."""
