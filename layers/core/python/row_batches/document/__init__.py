"""The input document, its checks, and the plan that is made from it."""
