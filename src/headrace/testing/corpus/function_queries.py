"""Every function of the allow-list over the nasty values of `readings`, some to a query."""

from headrace.testing.corpus.row_queries import Query

_GROUPS: dict[str, tuple[str, ...]] = {
    "functions of numbers": (
        "ABS(n)", "ABS(x)", "ABS(amount)", "ABS(big)", "CEIL(x)", "CEIL(amount)", "FLOOR(x)", "FLOOR(amount)", "FLOOR(n)", "ROUND(x)", "ROUND(x, 1)",
        "ROUND(amount)", "ROUND(amount, 2)", "ROUND(n)", "TRUNCATE(x)", "TRUNCATE(amount, 2)", "TRUNCATE(amount)", "SIGN(n)", "SIGN(x)", "SIGN(amount)",
    ),
    "roots, powers and logarithms": (
        "SQRT(n)", "SQRT(x)", "SQRT(amount)", "POWER(n, 2)", "POWER(small, 3)", "POWER(0, -1)", "POWER(small, 100)", "EXP(0)", "EXP(small)", "LN(n)", "LN(1)",
        "LOG10(n)", "LOG10(1000)", "LOG2(8)", "LOG2(small)", "MOD(n, small)", "MOD(big, 10)", "MOD(amount, 7)",
    ),
    "choices between values": (
        "GREATEST(n, small, 1)", "LEAST(n, small)", "GREATEST(key, text)", "LEAST(amount, n)", "GREATEST(at, event_time)", "COALESCE(text, key, 'none')", "COALESCE(n, small, big)",
        "IFNULL(n, -1)", "IFNULL(text, key)", "NULLIF(n, 0)", "NULLIF(text, '')", "IF(ok, n, small)", "IF(n > 0, 'up', NULL)", "COALESCE(amount, n)",
    ),
    "letters": (
        "UPPER(text)", "LOWER(text)", "TRIM(text)", "LTRIM(text)", "RTRIM(text)", "CHAR_LENGTH(text)", "CHARACTER_LENGTH(key)", "REVERSE('abc')", "CONCAT(key, '·', text)",
        "CONCAT_WS('-', key, text, 'z')", "key || '/' || n", "REPEAT(key, 3)", "REPEAT(key, small)", "LPAD(text, 5, '*')", "RPAD(text, 5, '*')", "LPAD(key, 3, 'ab')", "RPAD(key, n, 'x')",
    ),
    "parts of text": (
        "SUBSTRING(text, 2)", "SUBSTRING(text, 2, 3)", "SUBSTRING(text FROM 0 FOR 2)", "SUBSTRING(text, -3)", "SUBSTR(text, -3, 2)", "SUBSTR(text, n)", "LEFT(text, 2)", "LEFT(text, n)", "RIGHT(text, 2)",
        "RIGHT(text, small)", "REPLACE(text, ',', ';')", "REPLACE(text, 'é', '')", "POSITION('b' IN text)", "POSITION('é' IN text)", "INSTR(text, ',')", "INSTR(text, '')",
        "SPLIT_INDEX(text, ',', 1)", "SPLIT_INDEX(text, ',', 2)", "SPLIT_INDEX(text, ',', 9)", "STARTSWITH(text, 'a')", "ENDSWITH(text, 'c')", "STARTSWITH(text, '')",
    ),
    "patterns": (
        "text LIKE '%é%'", "text LIKE '_x_'", "text LIKE '%'", "text LIKE '%_'", "text LIKE 'a_c'", "text NOT LIKE '%a%'", "REGEXP(text, '^[0-9.]+$')", "REGEXP(text, 'a.c')", "REGEXP(text, '\\d')",
        "REGEXP_EXTRACT(text, '([a-z])([a-z])', 2)", "REGEXP_EXTRACT(text, '[0-9]+')", "REGEXP_EXTRACT(text, 'q')", "REGEXP_REPLACE(text, '[^a-z]', '')", "REGEXP_REPLACE(text, '[aeiou]', '*')",
        "MD5(text)", "SHA256(key)",
    ),
    "JSON": (
        "JSON_VALUE(text, '$.k[0]')", "JSON_VALUE(text, '$.k[1]')", "JSON_VALUE(text, '$.k[2]')", "JSON_VALUE(text, '$.a.b')", "JSON_VALUE(text, '$.a')", "JSON_VALUE(text, '$[0]')",
        "JSON_EXISTS(text, '$.k')", "JSON_EXISTS(text, '$.a.b')", "JSON_EXISTS(text, '$.k[2]')", "JSON_EXISTS(text, '$.k[3]')", "JSON_EXISTS(key, '$')", "JSON_VALUE(NULL, '$.a')",
    ),
    "numbers in JSON": ("JSON_VALUE(text, '$.k')", "JSON_VALUE(text, '$')", "JSON_VALUE(CONCAT('[', text, 'e-9]'), '$[0]')"),
    "what is no JSON": (
        "JSON_VALUE(CONCAT(text, ' x'), '$')", "JSON_VALUE(CONCAT(text, ', 2'), '$')", "JSON_EXISTS(CONCAT('[', text, ',]'), '$')",
        "JSON_VALUE(CONCAT('{\"größe\": {\"a-b\": [', text, ']}}'), '$.größe.a-b[0]')", "JSON_VALUE(CONCAT('{\"a\": \"', text, '\"}'), '$.a')",
    ),
    "NULL in JSON": ("JSON_EXISTS(text, '$.k[1]')", "JSON_EXISTS(text, '$.a')"),
    "parts of times": (
        "EXTRACT(YEAR FROM at)", "EXTRACT(QUARTER FROM at)", "EXTRACT(MONTH FROM at)", "EXTRACT(WEEK FROM event_time)", "EXTRACT(DAY FROM at)", "EXTRACT(HOUR FROM local)", "EXTRACT(MINUTE FROM at)", "EXTRACT(SECOND FROM at)",
        "YEAR(local)", "MONTH(at)", "DAYOFMONTH(at)", "DAYOFWEEK(at)", "DAYOFWEEK(event_time)", "HOUR(event_time)", "HOUR(at)", "MINUTE(local)", "SECOND(at)", "UNIX_TIMESTAMP(at)", "UNIX_TIMESTAMP(event_time)",
    ),
    "times rounded and moved": (
        "FLOOR(at TO HOUR)", "FLOOR(at TO DAY)", "FLOOR(event_time TO MONTH)", "FLOOR(at TO YEAR)", "FLOOR(at TO WEEK)", "CEIL(at TO MINUTE)", "CEIL(at TO DAY)", "CEIL(event_time TO MONTH)", "CEIL(local TO HOUR)",
        "event_time + INTERVAL '1' DAY", "at - INTERVAL '1' HOUR", "local + INTERVAL '1' MONTH", "at + INTERVAL '1' YEAR", "TIMESTAMPADD(DAY, n, event_time)", "TIMESTAMPADD(HOUR, -1, local)",
        "TIMESTAMPADD(WEEK, small, at)", "TIMESTAMPDIFF(DAY, at, event_time)", "TIMESTAMPDIFF(HOUR, event_time, at)", "TIMESTAMPDIFF(SECOND, local, at)",
    ),
    "times out of other values": (
        "TO_TIMESTAMP(text)", "TO_DATE(text)", "TO_TIMESTAMP_LTZ(n, 0)", "TO_TIMESTAMP_LTZ(big, 3)", "TO_TIMESTAMP_LTZ(big, 0)", "TO_TIMESTAMP_LTZ(1711846800500, 3)", "TO_TIMESTAMP('2024-03-31T02:30:00')",
        "TO_TIMESTAMP('2024-03-31 02:30:00+02:00')", "TO_DATE('2024-02-30')",
    ),
    "letters beyond ASCII": (
        "LOWER(key)", "CHAR_LENGTH('👩‍👩‍👧')", "SUBSTRING('a🙂b', 2, 1)", "LEFT('🙂🙂', 1)", "RIGHT(key, 1)", "POSITION('b' IN 'a🙂b')", "LPAD('🙂', 3, '·')", "REPLACE(key, '🙂', '日')",
        "INSTR(key, '本')", "key LIKE '_'", "REGEXP(key, '^.$')", "REGEXP_REPLACE(key, '[^a]', '🙂')", "MD5(key)",
    ),
    "capitals of letters that have none": ("UPPER(key)", "UPPER(CONCAT(text, 'ŉǰΐﬃßΣσςაʼn'))", "LOWER(CONCAT(text, 'İΣΑΣ', key))"),
    "letters in reverse": ("REVERSE(text)", "REVERSE(key)", "REVERSE(CONCAT(text, key))"),
    "negative zeros": ("n * x", "-x", "CEIL(x)", "ROUND(x)", "ROUND(x, 1)", "TRUNCATE(x)", "GREATEST(n * x, 0e0)", "LEAST(0e0, n * x)", "ABS(n * x)", "n * x = 0", "n * x IN (0e0, 1e0)"),
}  # fmt: skip


def _query(items: tuple[str, ...]) -> str:
    columns = ", ".join(f"{text} AS v{place}" for place, text in enumerate(items))
    return f"SELECT id, {columns} FROM readings"


FUNCTION_QUERIES: tuple[Query, ...] = tuple((name, "functions", _query(items)) for name, items in _GROUPS.items())
