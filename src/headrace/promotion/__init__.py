"""Which version is served, and why: metrics, confidence sequences, candidates, the anchor test, the version registry.

May import foundation, log, events, models; never another room. Pure decisions on numbers; no torch. It commits nothing:
`stages/train` does. The log is read only for the idempotent MLflow mirror, which is never used for a decision.

- `metric`: a row's score, and two models' difference on it
- `confidence_sequence`: a bound that stays valid under continuous monitoring
- `trial`, `gate`: candidates, probation, verdicts
- `registry`: versions and the alias
- `mlflow`: the mirror
"""
