"""What the source costs, beside what a user would write instead: `make bench`."""
