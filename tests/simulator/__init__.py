"""A stand-in for Meta, an AI and a platform: speaks HTTP only, knows nothing of `service` or
`workers`.
"""
