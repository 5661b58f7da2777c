"""PDF → text, page by page."""

import io
import logging

from pypdf import PdfReader
from pypdf.errors import DependencyError

from headrace.connectors.documents.document import UnreadableDocumentError


def read_pdf(data: bytes, max_pages: int, max_letters: int) -> tuple[str, str, dict[str, str]]:
    """(title, text with a blank line between pages, its info, see `_info`). UnreadableDocumentError: encrypted, too_long, no_text; any other error: the PDF is broken."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its silent repairs are not worth logging
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableDocumentError("encrypted", "the PDF is encrypted")
        if len(reader.pages) > max_pages:
            raise UnreadableDocumentError(
                "too_long", f"the PDF has {len(reader.pages)} pages; the limit is {max_pages}"
            )
        info = _info(reader)
        return info.get("title", ""), _text(reader, max_letters), info
    except DependencyError as error:
        raise UnreadableDocumentError("encrypted", "the PDF is encrypted") from error


def _info(reader: PdfReader) -> dict[str, str]:
    """Title, author and so on, lower-cased; times as ISO 8601."""
    found = reader.metadata
    if found is None:
        return {}
    info = {name.lstrip("/").lower(): str(value) for name, value in found.items() if value is not None}
    for name, moment in (("creationdate", found.creation_date), ("moddate", found.modification_date)):
        if moment is not None:
            info[name] = moment.isoformat()
    return info


def _text(reader: PdfReader, max_letters: int) -> str:
    pages: list[str] = []
    letters = 0
    for page in reader.pages:
        pages.append(page.extract_text().strip())
        letters += len(pages[-1])
        if letters > max_letters:
            raise UnreadableDocumentError("too_long", f"the PDF contains more than {max_letters} characters")
    text = "\n\n".join(page for page in pages if page)
    if not text.strip():
        raise UnreadableDocumentError("no_text", "the PDF contains no text; scanned pages are not read")
    return text
