"""Documents that are none: each is one dead letter, its last good version stays, and the rest goes on."""

import os
import zlib
from datetime import datetime
from pathlib import Path

import pytest
from fpdf import FPDF

from headrace.connectors.documents.extraction import Extraction
from headrace.connectors.documents.simple_html import simple_markdown


def pdf(text: str, *, password: str = "", pages: int = 1, title: str = "") -> bytes:
    made = FPDF()
    for number in range(pages):
        made.add_page()
        made.set_font("Helvetica", size=12)
        made.cell(text=f"{text} {number}")
    if title:
        made.set_title(title)
    if password:
        made.set_encryption(owner_password=password, user_password=password)
    return bytes(made.output())


PAGE = """<html><head><title>Fees &amp; more</title><meta name="product" content="cards"><script>var a = "no";</script></head>
<body><nav><ul><li><a href="/">Home</a></li><li><a href="/shop">Shop now</a></li></ul></nav>
<main><article><h1>Fees</h1><p>The fee for a lost card is two euros. It is paid once, and nobody pays it twice.</p>
<h2>Abroad</h2><p>Abroad it is three euros, and you have to wait a little longer for it to come.</p>
<table><tr><th>card</th><th>fee</th></tr><tr><td>blue</td><td>2</td></tr><tr><td>red</td><td>3</td></tr></table>
</article></main><footer>Copyright. Imprint. Cookies.</footer></body></html>"""


def test_html_keeps_headings_and_tables_and_loses_the_rest(folder):
    folder.write("fees.html", PAGE)
    (row,) = folder.new()
    assert (row["title"], row["product"], row["media"]) == ("Fees & more", "cards", "markdown")
    assert all(part in row["body"] for part in ("# Fees", "## Abroad", "two euros", "| blue | 2 |"))
    assert not any(part in row["body"] for part in ("Shop now", "Cookies", "var a"))


def test_html_in_another_charset_says_so_itself(folder):
    folder.write("a.html", '<meta charset="iso-8859-1"><p>Geb\u00fchr f\u00fcr Karten.</p>'.encode("latin-1"))
    (row,) = folder.new()
    assert "Geb\u00fchr" in row["body"]


def test_a_pdf_is_plain_text_with_its_own_title(folder):
    folder.write("fees.pdf", pdf("The fee is two euros.", title="Fees", pages=2))
    (row,) = folder.new()
    assert (row["title"], row["media"], row["product"]) == ("Fees", "plain", None)
    assert row["body"] == "The fee is two euros. 0\n\nThe fee is two euros. 1"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.md", b"\x7fELF\x00\x01\x02", "binary"),
        ("a.txt", bytes(range(256)), "binary"),
        ("a.md", "Gr\u00fc\u00dfe".encode("latin-1"), "invalid_utf8"),
        ("a.md", b"", "empty"),
        ("a.md", b" \n\t\n", "empty"),
        ("a.md", b"---\ntitle: A\n---\n", "empty"),
        ("a.md", b"---\ntitle: [\n---\nText.", "malformed_front_matter"),
        ("a.md", b"---\na: &x [1]\nb: *x\n---\nText.", "malformed_front_matter"),
        ("a.md", b"---\na: " + b"[" * 5_000 + b"\n---\nText.", "malformed_front_matter"),
        ("a.md", b"---\nfee: dear\n---\nText.", "wrong_type"),
        ("a.pdf", b"%PDF-1.7 nothing of it is true", "broken_pdf"),
        ("a.pdf", pdf("x")[:400], "broken_pdf"),
        ("a.pdf", pdf("x", password="secret"), "encrypted"),
        ("a.pdf", pdf("x", pages=4), "too_long"),
        ("a.html", b"<html><body><script>only()</script></body></html>", "no_text"),
        ("a.html", b"<![" * 1_000, "broken_html"),
        ("a.html", b"\xff\xfe\xff", "invalid_utf8"),
        ("a.jsonl", b"{", "malformed_json"),
        ("a.jsonl", b"[1]", "not_an_object"),
        ("a.jsonl", b'{"body": "Text."}', "missing_id"),
        ("a.jsonl", b'{"id": 1}', "missing_text"),
        ("a.jsonl", b'{"id": 1, "body": "Text.", "fee": "dear"}', "wrong_type"),
        ("a.jsonl", b'{"id": 1, "body": "Text.", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
        ("a.jsonl", b'{"id": 1, "body": "\xff"}', "invalid_utf8"),
        ("a.jsonl", b"\n\n", "empty"),
    ],
)
def test_what_is_no_document_is_one_letter(folder, name, content, code):
    folder.options.options["maxPages"] = 3
    folder.restart()
    folder.write("good.md", "Good.")
    assert folder.said() == [("upsert", "good.md")]
    folder.write(name, content)
    assert folder.codes() == [code]
    assert folder.letters[0].reason.startswith(name)
    folder.restart()
    assert folder.codes() == []
    (folder.root / name).unlink()
    assert folder.codes() == []


@pytest.mark.parametrize("bad", [b"", b"\0", b"\xff", b"---\nfee: dear\n---\nText."])
def test_the_last_good_version_stays_until_the_file_is_mended_or_gone(folder, bad):
    path = folder.write("a.md", "Good.")
    folder.new()
    folder.write("a.md", bad)
    assert len(folder.codes()) == 1
    folder.write("a.md", "Good.")
    assert folder.said() == []
    folder.write("a.md", bad)
    assert len(folder.codes()) == 1
    folder.restart()
    folder.write("a.md", "Better.")
    assert folder.said() == [("upsert", "a.md")]
    folder.write("a.md", bad)
    assert len(folder.codes()) == 1
    path.unlink()
    assert folder.said() == [("delete", "a.md")]


def test_a_file_of_200_mb_is_refused_before_it_is_read(folder):
    path = folder.write("a.md", "Good.")
    folder.new()
    os.truncate(path, 200_000_000)
    assert folder.codes() == ["too_long"]
    assert folder.letters[0].payload == ""
    folder.restart()
    assert folder.codes() == []


def test_a_name_that_is_no_text_is_a_letter(folder):
    path = os.fsencode(folder.root) + b"/\xff.md"
    with open(path, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(b"Good.")
    assert folder.codes() == ["invalid_name"]
    assert folder.letters[0].origin_id == "docs:\\xff.md@0"
    folder.restart()
    assert folder.codes() == []


def test_a_pipe_is_passed_over(folder):
    os.mkfifo(folder.root / "a.md")
    assert folder.said() == []


@pytest.mark.slow
def test_html_that_takes_for_ever_is_given_up_and_the_next_file_is_read(folder):
    folder.options.options["timeout"] = "2s"
    folder.restart()
    folder.write("a.html", "<!--" * 1_000_000)
    folder.write("b.html", PAGE)
    assert folder.said() == [("upsert", "b.html")]
    assert [letter.code for letter in folder.letters] == ["too_slow"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["<p>ab</p>" * 500_000, "<div>" * 200_000 + "ab", "<table>" + "<tr><td>ab<td>b" * 50_000]
)
def test_html_with_a_million_tags_is_read_in_seconds(folder, text):
    folder.write("a.html", text)
    (row,) = folder.new()
    assert "ab" in row["body"]


def test_a_pdf_that_swells_is_no_more_than_its_text(folder):
    swollen = zlib.compress(b"q Q " * 10_000_000, 9)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(swollen), swollen),
    ]  # fmt: skip
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, part) for number, part in enumerate(parts, 1))
    folder.write("a.pdf", b"%PDF-1.4\n" + body + b"trailer<</Size 5/Root 1 0 R>>\n%%EOF")
    (code,) = folder.codes()
    assert code in {"no_text", "too_large", "broken_pdf"}


def test_the_process_that_reads_comes_back_when_it_is_killed():
    extraction = Extraction(timeout_seconds=30, max_pages=10, max_letters=1_000)
    assert extraction.read("html", PAGE.encode(), "a").title == "Fees & more"
    process = extraction._process
    assert process is not None
    process.kill()
    process.wait()
    assert extraction.read("html", PAGE.encode(), "a").title == "Fees & more"
    extraction.close()


def test_a_pdf_tells_its_title_and_its_date():
    extraction = Extraction(timeout_seconds=30, max_pages=10, max_letters=1_000)
    found = extraction.read("pdf", pdf("x", title="Fees"), "a")
    assert found.fields["title"] == "Fees"
    assert datetime.fromisoformat(str(found.fields["creationdate"])).year >= 2024
    extraction.close()


def test_the_simple_reader_keeps_order_and_structure():
    page = simple_markdown(PAGE + "<pre>a\n  b</pre><ul><li>one<li>two</ul>")
    assert page.title == "Fees & more"
    assert page.meta == {"product": "cards"}
    assert (
        page.body.index("# Fees")
        < page.body.index("## Abroad")
        < page.body.index("| card | fee |\n| --- | --- |\n| blue | 2 |")
    )
    assert "```\na\n  b\n```" in page.body
    assert "- one\n\n- two" in page.body
    assert "Home" not in page.body


def test_memory_and_files_are_given_back(folder):
    folder.write("a.html", PAGE)
    folder.new()
    process = folder.source._extraction._process
    assert process is not None
    folder.source.close()
    assert not Path(f"/proc/{process.pid}").exists()
