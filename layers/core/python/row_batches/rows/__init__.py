"""The store of finished rows."""
