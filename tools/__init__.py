"""The commands behind the Makefile. They use the product's own package, from the layer's folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "layers" / "core" / "python"))
