"""Knowledge: changing documents → chunks → vectors and terms → search, as of any time still remembered.

May import models, events, log and foundation. It holds the port to a store (`store.py`), the records that pass through it
(`revision.py`, `query.py`), and what all back ends share, so that they rank alike: terms, BM25, fusion, filters.
It never imports YAML, stages, HTTP or any other room.
"""
