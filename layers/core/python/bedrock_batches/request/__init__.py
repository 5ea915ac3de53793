"""The request for a job and its checks."""
