"""The local AWS: MiniStack on loopback, plus what it lacks."""
