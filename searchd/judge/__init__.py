"""Judged sets as people handle them: files in and out, clicks turned into weak grades, the pages where grades are given."""
