"""Queries of rows one by one and of their joins, over the streams of `readings`: (name, feature, SQL)."""

Query = tuple[str, str, str]

_JOIN = "JOIN rates FOR SYSTEM_TIME AS OF t.event_time AS r ON t.key = r.key"
ROW_QUERIES: tuple[Query, ...] = (
    ("every column as it came", "rows", "SELECT * FROM readings"),
    ("a filter on NULLs", "rows", "SELECT id, n IS NULL AS gone, ok FROM readings WHERE n IS NULL OR ok"),
    ("logic of three values", "rows", "SELECT id, ok AND n > 0 AS a, ok OR n > 0 AS b, NOT ok AS c, ok IS DISTINCT FROM (n > 0) AS d, ok = TRUE AS e, "
     "n IN (1, 7) AS f, n NOT IN (1, 7) AS g, n BETWEEN -1 AND small AS h FROM readings"),
    ("a NULL that has no type", "rows", "SELECT id, (ok OR NULL) IS NULL AS a, ok AND NULL AS b, n IN (1, 7, NULL) AS c, n + NULL AS d, COALESCE(NULL, n) AS e, NOT NULL AS f FROM readings"),
    ("what a WHERE makes of NULL", "rows", "SELECT id FROM readings WHERE NOT (ok AND n > 0) AND key <> 'a'"),
    ("comparisons of text", "rows", "SELECT id, key < 'b' AS a, key >= 'ä' AS b, key = 'ä' AS c, text > key AS d, key <> '🙂' AS e FROM readings"),
    ("comparisons of numbers of several types", "rows", "SELECT id, n > small AS a, big = n AS b, amount > n AS c, x < amount AS d, big >= x AS e, amount = 12.5 AS f FROM readings"),
    ("comparisons of times", "rows", "SELECT id, event_time > at AS a, local < '2024-03-31 02:00:00' AS b, day = '2024-02-29' AS c, "
     "at BETWEEN '1970-01-01 00:00:00' AND '2024-03-31 02:00:00' AS d, day < event_time AS e, local = at AS f FROM readings"),
    ("CASE in all its forms", "rows", "SELECT id, CASE n WHEN 0 THEN 'none' WHEN 1 THEN 'one' END AS a, CASE WHEN n > small THEN n WHEN ok THEN small ELSE -5 END AS b, "
     "CASE WHEN n / NULLIF(small, 0) > 1 THEN x END AS c, CASE WHEN ok IS NULL THEN amount ELSE n END AS d FROM readings"),
    ("integers that overflow are NULL", "rows", "SELECT id, n + 1 AS a, n * n AS b, big + big AS c, -n AS d, big * 3 AS e, n - small AS f, -big AS g, big + n AS h FROM readings"),
    ("division and remainder", "rows", "SELECT id, n / small AS a, n % small AS b, big / n AS c, MOD(n, 7) AS d, x / small AS e, amount / n AS f, 1 / x AS g, -7 / 2 AS h, MOD(big, n) AS i FROM readings"),
    ("doubles", "rows", "SELECT id, x, -x AS a, x + 2 AS b, x * x AS c, x / 3 AS d, x - n AS e, x * amount AS f FROM readings"),
    ("decimals keep their digits", "rows", "SELECT id, amount * 2 AS a, amount + 1 AS b, amount * amount AS c, amount - n AS d, amount % 5 AS e, amount + 1.5 AS f, -amount AS g FROM readings"),
    ("decimals of many digits", "rows", "SELECT id, amount * amount * 2 AS a, amount * amount + 1.000000001 AS b, amount * amount - amount * amount AS c, amount * 1.12345678901234 AS d, big * amount AS e, "
     "CAST(amount AS DECIMAL(38, 10)) + amount AS f, CAST(CAST(amount AS DECIMAL(30, 8)) AS STRING) AS g, CAST(CAST(amount AS DECIMAL(18, 3)) AS DOUBLE) AS h, CAST(text AS DECIMAL(3, 3)) AS i, "
     "CAST('000' || text AS DECIMAL(6, 2)) AS j FROM readings"),
    ("constants below one", "rows", "SELECT id, x + 0.1 AS a, amount + 0.0000001 AS b, n * 0.5 AS c, -0.25 AS d FROM readings"),
    ("casts of text to numbers", "rows", "SELECT id, CAST(text AS INT) AS a, CAST(text AS BIGINT) AS b, CAST(text AS DOUBLE) AS c, CAST(text AS DECIMAL(10, 2)) AS d, CAST(text AS BOOLEAN) AS e, CAST(text AS SMALLINT) AS f FROM readings WHERE text <> '0x1F'"),
    ("hexadecimal text is no number", "rows", "SELECT id, CAST(text AS INT) AS a, CAST(text AS BIGINT) AS b FROM readings WHERE text = '0x1F'"),
    ("casts of text to times", "rows", "SELECT id, CAST(text AS DATE) AS a, CAST(text AS TIMESTAMP(3)) AS b, CAST(text AS TIMESTAMP_LTZ(3)) AS c FROM readings"),
    ("casts of numbers to numbers", "rows", "SELECT id, CAST(x AS INT) AS a, CAST(x AS BIGINT) AS b, CAST(big AS INT) AS c, CAST(n AS SMALLINT) AS d, CAST(amount AS INT) AS e, "
     "CAST(x AS DECIMAL(12, 3)) AS f, CAST(big AS DOUBLE) AS g, CAST(amount AS DOUBLE) AS h, CAST(amount AS DECIMAL(8, 2)) AS i, CAST(n AS DECIMAL(38, 18)) AS j, CAST(ok AS INT) AS k FROM readings"),
    ("casts to text", "rows", "SELECT id, CAST(n AS STRING) AS a, CAST(big AS STRING) AS b, CAST(amount AS STRING) AS c, CAST(ok AS STRING) AS d, CAST(day AS STRING) AS e, "
     "CAST(local AS STRING) AS f, CAST(at AS STRING) AS g, CAST(event_time AS STRING) AS h FROM readings"),
    ("casts between times", "rows", "SELECT id, CAST(at AS DATE) AS a, CAST(local AS DATE) AS b, CAST(day AS TIMESTAMP(3)) AS c, CAST(at AS TIMESTAMP(3)) AS d, CAST(local AS TIMESTAMP_LTZ(3)) AS e FROM readings"),
    ("a subquery and a WITH", "rows", "WITH small AS (SELECT id, n * 2 AS twice, key FROM readings WHERE n < 100) SELECT s.id, s.twice + 1 AS odd FROM (SELECT * FROM small WHERE key IS NOT NULL) AS s WHERE s.twice > 0"),
    ("names that need quotes", "rows", "SELECT id AS `select`, n AS `größe`, key AS `a b`, text AS `x.y`, ok AS `_x` FROM readings WHERE id < 40"),
    ("the moment of arrival", "now()", "SELECT id, now() AS t, CURRENT_TIMESTAMP = now() AS u FROM readings WHERE event_time < now()"),
    ("the stream's own time", "now()", "SELECT id, now() AS t, event_time < now() AS behind FROM readings WHERE event_time >= now() - INTERVAL '10' SECOND"),
    ("a static table beside each row", "join with a table", "SELECT id, p.place, p.level + 1 AS up FROM readings AS t JOIN places AS p ON t.key = p.code"),
    ("each row, with a table's columns where there are any", "join with a table", "SELECT id, p.place, p.level IS NULL AS none FROM readings AS t LEFT JOIN places AS p ON t.key = p.code"),
    ("rows without a partner", "join with a table", "SELECT id, key FROM readings AS t LEFT JOIN places AS p ON t.key = p.code WHERE p.code IS NULL"),
    ("a table joined by an expression", "join with a table", "SELECT id, p.place FROM readings AS t JOIN places AS p ON LOWER(t.key) = p.code AND t.n = p.level"),
    ("the version of a table as of the row's time", "join with a table", "SELECT id, v.tariff, v.since FROM readings AS t JOIN tariffs FOR SYSTEM_TIME AS OF t.event_time AS v ON t.key = v.code"),
    ("each row, with its version where there is one", "join with a table", "SELECT id, v.tariff FROM readings AS t LEFT JOIN tariffs FOR SYSTEM_TIME AS OF t.event_time AS v ON t.key = v.code"),
    ("two tables after one another", "join with a table", "SELECT id, p.place, v.tariff * 2 AS twice FROM readings AS t LEFT JOIN places AS p ON t.key = p.code "
     "LEFT JOIN tariffs FOR SYSTEM_TIME AS OF t.event_time AS v ON p.code = v.code"),
    ("a window over joined rows", "join with a table", "WITH j AS (SELECT t.event_time AS ts, t.n, p.place FROM readings AS t JOIN places AS p ON t.key = p.code) "
     "SELECT window_start, place, COUNT(*) AS c, MAX(n) AS m FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) GROUP BY window_start, window_end, place"),
    ("the latest row of another stream", "join with a stream", f"SELECT t.id, r.id AS version, r.rate, r.note FROM readings AS t {_JOIN}"),
    ("each row, with the latest of another stream", "join with a stream", f"SELECT t.id, r.rate, r.id AS version FROM readings AS t LEFT {_JOIN}"),
    ("a filter before and behind a join of streams", "join with a stream", f"SELECT t.id, r.rate FROM (SELECT * FROM readings WHERE ok) AS t {_JOIN} WHERE r.rate > 0 OR r.note IS NULL"),
    ("a reckoning over joined streams", "join with a stream", f"SELECT t.id, t.amount * r.rate AS value_, COALESCE(r.note, t.text) AS words FROM readings AS t LEFT {_JOIN} WHERE t.n IS NOT NULL"),
    ("a window over joined streams", "join with a stream", f"WITH j AS (SELECT t.event_time AS ts, t.key, r.rate FROM readings AS t {_JOIN}) SELECT window_start, key, COUNT(*) AS c, SUM(rate) AS s, "
     "FIRST_VALUE(rate) AS f FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, key"),
)  # fmt: skip
