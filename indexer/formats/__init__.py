"""One file per format, each `parse(name, content) -> list[ParsedText]`; `table.py` names them all."""
