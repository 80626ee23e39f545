"""The HTTP API, one file per topic; `problems.py` alone turns errors into status codes."""
