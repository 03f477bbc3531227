"""The client of Meta's Graph API, what its answers mean, and whether Meta is there at all."""
