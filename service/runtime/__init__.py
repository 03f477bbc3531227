"""The base of every process: settings, the database, Redis, logs, time limits.

It knows of no message and no account.
"""
