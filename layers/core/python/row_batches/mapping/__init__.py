"""Maps a row to the target's input, and the target's answer to columns."""
