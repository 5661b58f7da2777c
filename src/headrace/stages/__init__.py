"""The spine: one package per stage, each of which joins rooms and owns one commit.

May import every room above; never kinds, control or doors. A stage is opened with its options (`stages/NAME/options.py`) on a
log, and stepped: read, work, one Commit (`stages/NAME/stage.py`). Topic names come from `events/topics.py`.
"""
