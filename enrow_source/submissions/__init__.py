"""People in, batches out: submits bulk phone searches, at most once, within a budget."""
