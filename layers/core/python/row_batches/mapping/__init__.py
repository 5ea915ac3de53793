"""How a row becomes the target's input, and how its answer becomes columns."""
