"""Fetches many batches at a time."""
