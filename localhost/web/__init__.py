"""Who speaks to the outside: HTTP functions and the management API."""
