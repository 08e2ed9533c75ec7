"""What the destination holds, and what is changed there beside a load."""
