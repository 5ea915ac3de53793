"""Row batches: run each row of a file through an agent or a tool, and write the results into one file."""
