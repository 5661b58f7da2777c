"""The whole pipeline under a seeded scheduler, on a virtual clock, compared with the undisturbed run.

    python -m headrace.testing.simulation --seeds 2000
    python -m headrace.testing.simulation --seed 17

`inputs`: what happens outside, with the moment of each arrival. `world`: a state directory with its stages. `faults`: what is done
to them. `scheduler`: draws, from one seed, which stage steps next and what goes wrong. `oracle`: what must hold during the run and
at its end. May import everything; nothing but tests imports it.
"""
