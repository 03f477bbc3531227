"""Asking who answers: the history that a responder sees, the call, what its answer means."""
