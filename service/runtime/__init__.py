"""What every process stands on: settings, the database, Redis, logs, time limits; knows no message
and no account.
"""
