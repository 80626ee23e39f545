"""The pages: server-rendered HTML over the search pipeline."""
