"""The JSON API: one file per topic, each with its HANDLERS; `searchd/app.py` mounts them."""
