"""The input document, its checks, and the plan that is derived from it."""
