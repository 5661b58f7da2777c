"""Knowledge: documents that change → chunks → vectors and terms → search, as of any moment that is still remembered.

May import models, events, log and foundation. Here are the port to a store (`store.py`), the records that go through it
(`revision.py`, `query.py`), and what every back end shares, so that all of them rank alike: terms, BM25, fusion, filters.
Never here: YAML, stages, HTTP, and any other room.
"""
