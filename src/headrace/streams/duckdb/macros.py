"""Macros for queries that need them: text, letters and JSON read by the one grammar that all engines share, not by DuckDB's own.

DuckDB takes `0x1F`, `1_000` and `infinity` for numbers, `NaN` and `[1,]` for JSON, gives a number in JSON in its own digits, makes capitals
letter by letter, and turns text around by what is seen as one sign.
"""

NUMBER = r"^ *[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)? *$"
"""A text that is a number."""
_PLACES = (*range(0xDF, 0x588), *range(0x1E96, 0x2000), *range(0xFB00, 0xFB18))
CAPITALS = {letter: letter.upper() for letter in map(chr, _PLACES) if len(letter.upper()) > 1}
"""Letters whose capitals are several letters (Unicode, SpecialCasing.txt, without conditions)."""
_STRING = r'"(?:[^"\\]|\\.)*"'
_LENIENT = r"(?i)nan|inf|,\s*[\]}]"
"""What DuckDB takes for JSON, and JSON has not."""
_TOKEN = rf"{_STRING}|-?[0-9][0-9.eE+-]*|[^\"0-9-]+"
_PLAIN = r"^-?([1-9][0-9]*([.][0-9]+)?|0[.][0-9]{0,5}[1-9][0-9]*)$"
"""A number in JSON that looks as it stands."""
_PARTS = r"^(-?)([0-9]+)(?:[.]([0-9]+))?(?:[eE]([+-]?[0-9]+))?$"


def _map() -> str:
    pairs = ", ".join(f"'{letter}': '{capitals}'" for letter, capitals in CAPITALS.items())
    return f"MAP {{{pairs}}}"


MACROS: tuple[str, ...] = (
    f"number_text(x) AS CASE WHEN regexp_matches(x, '{NUMBER}') THEN x END",
    "finite(x) AS CASE WHEN isfinite(x) THEN x END",
    f"capitals(x) AS CASE WHEN regexp_matches(x, '[{''.join(CAPITALS)}]') "
    f"THEN array_to_string(list_transform(string_split(x, ''), lambda s: coalesce({_map()}[s], upper(s))), '') ELSE upper(x) END",
    "small_letters(x) AS lower(replace(x, 'İ', 'i\u0307'))",
    "back_to_front(x) AS CASE WHEN strlen(x) = length(x) THEN reverse(x) ELSE array_to_string(list_reverse(string_split(x, '')), '') END",
    f"is_json(x) AS json_valid(x) AND (NOT regexp_matches(x, '{_LENIENT}') "
    f"OR NOT regexp_matches(regexp_replace(x, '{_STRING}', '', 'g'), '{_LENIENT}'))",
    # numbers as strings, so that their digits stay
    f"""quoted_numbers(x) AS array_to_string(list_transform(regexp_extract_all(x, '{_TOKEN}'),
        lambda s: CASE WHEN regexp_matches(s, '^[-0-9]') THEN '"' || s || '"' ELSE s END), '')""",
    # digits and places behind the point are kept, as of a DECIMAL; far from the point with an exponent (java.math.BigDecimal.toString)
    """decimal_text(sign, digits, scale) AS CASE WHEN digits = '0' THEN '' ELSE sign END || CASE
        WHEN scale = 0 THEN digits
        WHEN scale > 0 AND length(digits) - 1 - scale >= -6
        THEN list_transform([lpad(digits, CAST(greatest(length(digits), scale + 1) AS INTEGER), '0')],
            lambda s: left(s, length(s) - scale) || '.' || right(s, scale))[1]
        ELSE left(digits, 1) || CASE WHEN length(digits) > 1 THEN '.' || substring(digits, 2) ELSE '' END
            || CASE WHEN length(digits) - 1 - scale = 0 THEN '' ELSE printf('E%+d', length(digits) - 1 - scale) END END""",
    f"""json_number(x) AS list_transform([x], lambda s: CASE WHEN regexp_matches(s, '{_PLAIN}') THEN s ELSE
        list_transform([regexp_extract(s, '{_PARTS}', ['sign', 'whole', 'fraction', 'power'])], lambda p: decimal_text(p.sign,
            coalesce(nullif(ltrim(p.whole || p.fraction, '0'), ''), '0'),
            length(p.fraction) - coalesce(TRY_CAST(nullif(p.power, '') AS BIGINT), 0)))[1] END)[1]""",
    """json_scalar(x, path) AS CASE WHEN is_json(x) THEN CASE try(json_type(x, path))
        WHEN 'OBJECT' THEN NULL WHEN 'ARRAY' THEN NULL WHEN 'NULL' THEN NULL
        WHEN 'DOUBLE' THEN json_number(try(json_extract_string(quoted_numbers(x), path)))
        ELSE try(json_extract_string(x, path)) END END""",
    "json_there(x, path) AS coalesce(is_json(x) AND try(json_type(x, path)) <> 'NULL', FALSE)",
)
MACRO_NAMES = tuple(f"{macro.partition('(')[0]}(" for macro in MACROS)
"""As SQL writes them."""
