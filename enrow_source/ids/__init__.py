"""Where batch ids come from."""
