"""StreamFinetuner: the continuous fine-tune.

May import kinds' own files, the streams' port and registry, and stages' options. Plans queries; never starts one.
"""
