"""Which version is served, and why: metrics, confidence sequences, candidates, anchors' test, the registry of versions.

May import foundation, log, events, models; never another room. Pure decisions over numbers, and their record; no torch,
no topics. MLflow is an idempotent mirror in `promotion/mlflow.py`, never read for a decision.
"""
