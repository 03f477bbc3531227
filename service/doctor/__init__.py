"""What is not as it should be, and how to mend it."""
