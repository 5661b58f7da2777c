"""How a model learns a stream: packing, rounds, scores, replay, drift, anchors, checkpoints.

May import foundation, log, events, models; never another room. torch only inside `learning/torch/`. Everything that
depends on order is decided by record count. Promotion's judgement is another room's; `stages/train` joins the two.

- `learner`: the port to the numerical side; `torch/` is behind it
- `fresh`, `rounds`, `replay`: what is learned together
- `drift`, `relabel`, `anchors`: when the answers change, and what is kept aside to tell
- `majority`, `score_window`: how well it goes, and against what
"""
