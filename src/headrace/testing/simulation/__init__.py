"""The whole pipeline under a seeded scheduler, on virtual clocks, compared with the undisturbed run.

    python -m headrace.testing.simulation --seeds 2000
    python -m headrace.testing.simulation --seed 17

`inputs`: what happens outside, with the moment of each arrival. `world`: a state directory with its stages. `teacher`: who answers the
prompts, and how badly. `faults`: what is done to the stages. `undisturbed`: the run without any. `scheduler`: draws, from one seed, which
stage steps next and what goes wrong. `oracle`, `ledger`: what must hold during the run and at its end. May import everything; nothing but
tests imports it.
"""
