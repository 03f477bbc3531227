"""How long what is kept, and one person's data."""
