"""Operates deployments of Batch Processor. Operations return models and never print."""
