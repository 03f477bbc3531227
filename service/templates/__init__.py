"""Message templates as Meta knows them: kept in step, checked against a send, shown as text."""
