"""Which version is served, and why: metrics, confidence sequences, candidates, anchors' test, the registry of versions.

May import foundation, log, events, models; never another room. Pure decisions over numbers; no torch. It commits nothing:
`stages/train` does. The log is read for the idempotent mirror in MLflow, which is never read for a decision.

- `metric`: what a row scores, and the difference of two models on it
- `confidence_sequence`: the bound that stays valid while one watches
- `trial`, `gate`: candidates, probation, verdicts
- `registry`: versions and the alias
- `mlflow`: the mirror
"""
