"""Whether each stage earns its place: judged sets measured, compared, tuned and calibrated on what the product really does."""
