"""People and their conversations: who is who, what they wrote and want, when a reply is due."""
