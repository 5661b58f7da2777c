"""Public helpers for whoever writes a back end: conformance suites per port, a virtual clock, failpoints, builders.

May import everything. Conformance suites are functions and classes that a pytest module inherits or parametrises.
"""
