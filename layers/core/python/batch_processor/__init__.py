"""Batch Processor: AI work over a whole dataset on AWS.

Layers, each importing only those to its left, held by import-linter: ``domain`` < ``app`` <
``adapters`` < ``runtime``.
"""
