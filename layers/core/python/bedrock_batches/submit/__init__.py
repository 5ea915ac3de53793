"""From a request to submitted jobs."""
