"""The journey in: Meta's webhooks as events, items, and the rows that they become."""
