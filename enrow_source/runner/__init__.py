"""The safe run: recover, load, report."""
