"""Files: fetched from Meta, taken from callers, kept in a directory or a bucket."""
