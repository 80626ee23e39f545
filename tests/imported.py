"""What `searchd` and `indexer` import by and by; imported once, before processes are forked (`forks.py`)."""

from __future__ import annotations

import qdrant_client  # noqa: F401
import sentence_transformers  # noqa: F401
import uvicorn  # noqa: F401
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertModel  # noqa: F401

import searchd.app
import searchd.asking
import searchd.models
import searchd.services
import searchd.train.commands  # noqa: F401
