"""SQL, the one truth: `database.py` opens it, one file per kind of thing reads and writes it. Rows stay in here."""
