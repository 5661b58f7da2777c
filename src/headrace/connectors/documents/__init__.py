"""A folder of documents as a source: Markdown, text, HTML, PDF and JSON lines, as files appear, change, move and disappear.

May import foundation, log, events, the ports and `connectors.records`; trafilatura and pypdf in `html_text.py` and
`pdf_text.py` only, which only the `extractor.py` process loads. This package decides how a file is read, not how a document is
chunked, embedded or searched.
"""
