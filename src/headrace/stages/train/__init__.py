"""train: `examples` → weights, scores, decisions, versions."""
