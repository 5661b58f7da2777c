"""Public helpers for authors of back ends: conformance suites per port, a virtual clock, failpoints, builders.

May import everything. Conformance suites are functions and classes that a pytest module inherits or parametrises.
"""
