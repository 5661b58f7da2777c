"""A folder of documents as a source: Markdown, text, HTML, PDF and JSON lines, as they appear, change, move and vanish.

May import foundation, log, events, the ports and `connectors.records`; trafilatura and pypdf in `html_text.py` and
`pdf_text.py` alone, which only the process of `extractor.py` loads. What a file is read as is decided here; how a document is
cut, embedded and found is not.
"""
