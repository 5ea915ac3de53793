"""The run of a batch: from validation to aggregation."""
