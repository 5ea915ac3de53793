"""Creates jobs and submits them."""
