"""The Enrow API: client, transport, models, parser."""
