"""What both capabilities stand on: errors, problems, JSON, settings, logging, and the AWS clients."""
