"""The command line, `flask …`: a module for each group of commands; cli.py lists them.

A command takes what its help says, asks the gateway in this process as a caller would over HTTP
(local_request.py), and shows the answer: as text, or with --json as one JSON document.
"""
