"""How a model learns a stream: packing, rounds, scores, replay, drift, anchors, checkpoints.

May import foundation, log, events, models; never another room. torch only inside `learning/torch/`. Everything that
depends on order is decided by record count. Promotion decides in another room; `stages/train` connects the two.
A component's learned data comes from its state, its declared values from its options: `from_state(data, options)`.

- `learner`: the port to the numerical side, implemented in `torch/`
- `loop`: one learner's life, example by example; `judge` and `reask` are its ports for comparing models and for reasking
- `options`: declared values, never restored; `method`: what a model keeps for life
- `intake`, `tokenizing`, `fresh`, `rounds`, `replay`: what is learned together
- `scoring`, `output`: every model's results, as records
- `drift`, `drift_response`, `documents_response`, `stale`, `anchors`: detecting and handling changed answers, with held-out examples
- `majority`, `score_window`: how well it does, and compared with what
"""
