"""prompt: `rows` → `prompts`, with the passages of their moment."""
