"""What happened, by the hour."""
