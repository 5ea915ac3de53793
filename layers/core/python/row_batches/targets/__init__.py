"""The targets: how they are found, called, and how their answers are read."""
