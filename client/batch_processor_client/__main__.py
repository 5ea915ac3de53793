"""``python -m batch_processor_client`` is the command ``batch-processor``."""

from __future__ import annotations

from batch_processor_client.cli import main

main()
