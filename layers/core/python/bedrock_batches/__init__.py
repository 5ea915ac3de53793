"""Bedrock batches: records of a lake go through batch inference, and their content goes back into the lake."""
