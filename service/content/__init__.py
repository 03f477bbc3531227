"""Pure: Meta's vocabulary.

What may be sent, what a phone number or a file is, what a message says in plain text.
"""
