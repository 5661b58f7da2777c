"""index: documents → a searchable knowledge base."""
