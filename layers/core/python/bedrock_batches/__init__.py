"""Bedrock batches: records of a lake through batch inference, and the content back into the lake."""
