"""Reads the data files beside the modules of a package, such as tables of prices."""

from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1]


def read_data_file(package: str, name: str) -> bytes:
    """The content of a data file of one of the layer's packages.

    Not by ``importlib.resources``, which imports ``tempfile``, ``shutil`` and ``zipfile`` at each cold start.
    """
    return (PACKAGES / package / name).read_bytes()
