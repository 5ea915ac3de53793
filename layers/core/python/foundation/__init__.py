"""Code that both capabilities share: errors, problems, JSON, settings, logging, and the AWS clients."""
