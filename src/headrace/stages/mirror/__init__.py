"""mirror: `scores` and `decisions` → MLflow."""
