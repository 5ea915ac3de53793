"""The local AWS: MiniStack on loopback, extended with the features that it lacks."""
