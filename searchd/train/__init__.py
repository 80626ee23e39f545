"""Rerankers from the owner's own documents: material -> questions -> mined groups -> fitted, measured, kept by version."""
