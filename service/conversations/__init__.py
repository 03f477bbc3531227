"""People and their conversations: who is who, when they wrote, what they want, when a reply is due."""
