"""How a model learns a stream: packing, rounds, scores, replay, drift, anchors, checkpoints.

May import foundation, log, events, models; never another room. torch only inside `learning/torch/`. Everything that
depends on order is decided by record count. Promotion's judgement is another room's; `stages/train` joins the two.
What a component learned comes back from its state, what is declared from its options: `from_state(data, options)`.

- `learner`: the port to the numerical side; `torch/` is behind it
- `loop`: one learner's life, example by example; `judge` and `reask` are its ports to who compares models and who reasks
- `options`: what is declared, never restored; `method`: what a model keeps for life
- `intake`, `tokenizing`, `fresh`, `rounds`, `replay`: what is learned together
- `scoring`, `output`: what every model makes of it, as records
- `drift`, `drift_response`, `documents_response`, `stale`, `anchors`: when the answers change, and what is held out to tell
- `majority`, `score_window`: how well it goes, and against what
"""
