"""The spine: one file per stage, each of which joins rooms and owns one commit.

May import every room above; never kinds, control or doors. A stage is made of options (`stages/options.py`), opened on a
log, and stepped: read, work, one Commit. Topic names come from `events/topics.py`.
"""
