"""HTML → Markdown: the main content without each page's boilerplate.

trafilatura extracts the article from menus and footers, in time quadratic in the number of tags: a page with many
is read in order by `simple_html.py` instead.
"""

import re

import trafilatura

from headrace.connectors.documents.simple_html import simple_markdown

MOST_TAGS = 8_000
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w-]{1,40})""", re.IGNORECASE)


def read_html(data: bytes) -> tuple[str, str, dict[str, str]]:
    """(title, Markdown, the contents of its <meta name>). UnicodeDecodeError, LookupError: it is not in its declared charset."""
    text = _decoded(data)
    simple = simple_markdown(text)
    body = simple.body
    if text.count("<") <= MOST_TAGS:
        found = trafilatura.extract(
            text, output_format="markdown", include_tables=True, include_comments=False, include_formatting=True,
            include_links=False, favor_recall=True, deduplicate=False,
        )  # fmt: skip
        body = found or body
    return simple.title, body, simple.meta


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    named = _CHARSET.search(data[:4096])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if named is None:
            raise
        return data.decode(named[1].decode("ascii"))
