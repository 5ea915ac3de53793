"""The commands behind the Makefile. They use the product's own packages, from their folders."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "layers" / "core" / "python"), str(REPOSITORY / "client")]
