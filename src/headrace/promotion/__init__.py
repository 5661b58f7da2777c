"""Which version is served, and why: metrics, confidence sequences, candidates, anchors' test, the registry of versions.

May import foundation, log, events, models; never another room. Pure decisions over numbers; no torch. The log is touched in two
places alone: a person's promote or rollback (`registry.py`) and the idempotent mirror in MLflow, never read for a decision.

- `metric`: what a row scores, and the difference of two models on it
- `confidence_sequence`: the bound that stays valid while one watches
- `trial`, `gate`: candidates, probation, verdicts
- `registry`: versions and the alias
- `mlflow`: the mirror
"""
