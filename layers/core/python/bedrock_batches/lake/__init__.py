"""The lake's catalog: opens it, and builds SQL for it."""
