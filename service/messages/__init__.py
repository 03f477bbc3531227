"""Messages as rows, and what belongs to one: statuses, relations, echoes, receipts, usage."""
