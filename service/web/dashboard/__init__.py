"""The operator's dashboard: pages for people, made on the server, at /whatsapp-cloud/dashboard.

pages.py is what every page stands on; the other modules are one part of it each.
"""
