"""The Enrow API: access, client, sessions, models, parser."""
