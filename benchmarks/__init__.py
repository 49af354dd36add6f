"""Measures the local host from outside, in units that make machines comparable.

Run by ``python -m benchmarks``. Starts Azurite and the host as processes, as a user
would, and knows the host only through HTTP.
"""
