"""Ground and ingestion: documents become SQL rows, Tantivy postings and Qdrant vectors."""
