"""Accounts: one chatbot, its number, its secrets, and what Meta says of their health."""
