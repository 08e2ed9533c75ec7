"""A bounded, seeded fuzz run: whatever bytes come as an answer, they are rows or one error. `python -m tests.fuzz`."""
