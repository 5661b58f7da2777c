"""label: `prompts` → `examples`, by a teacher or the ground truth."""
