"""What a team schedules: each module is a command, and its functions are what an orchestrator calls."""
