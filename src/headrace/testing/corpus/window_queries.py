"""Queries of windows over `readings`: (name, feature, SQL)."""

from headrace.testing.corpus.row_queries import Query

_BY = "GROUP BY window_start, window_end"


def _over(
    function: str, *intervals: str, partition: str = "", table: str = "readings", time: str = "event_time"
) -> str:
    lengths = ", ".join(f"INTERVAL '{one.split()[0]}' {one.split()[1]}" for one in intervals)
    return (
        f"TABLE({function}(TABLE {table}{partition and f' PARTITION BY {partition}'}, DESCRIPTOR({time}), {lengths}))"
    )


def _summary(window: str) -> str:
    return (
        "SELECT window_start, window_end, COUNT(*) AS c, COUNT(n) AS m, SUM(n) AS t, SUM(amount) AS s, MIN(text) AS lo, "
        f"MAX(text) AS hi, FIRST_VALUE(id) AS f, LAST_VALUE(key) AS l FROM {window} {_BY}"
    )


def _counts(window: str, *keys: str) -> str:
    names = ", ".join(("window_start", "window_end", *keys))
    return f"SELECT {names}, COUNT(*) AS c, MIN(id) AS f, SUM(small) AS s FROM {window} {_BY}, {', '.join(keys)}"


def _ranked(window: str, partition: str, order: str, bound: str, columns: str = "window_start, r, id") -> str:
    by = f"PARTITION BY window_start, window_end{partition and ', ' + partition} ORDER BY {order}"
    return f"SELECT {columns} FROM (SELECT *, ROW_NUMBER() OVER ({by}) AS r FROM {window}) WHERE {bound}"


_MINUTE, _TEN, _HOUR, _DAY = (_over("TUMBLE", one) for one in ("1 MINUTE", "10 MINUTE", "1 HOUR", "1 DAY"))
WINDOW_QUERIES: tuple[Query, ...] = (
    ("minutes", "TUMBLE", _summary(_MINUTE)),
    ("single seconds", "TUMBLE", _summary(_over("TUMBLE", "1 SECOND"))),
    ("days across the changes of the clock", "TUMBLE", _summary(_DAY)),
    ("hours with an offset", "TUMBLE", _summary(_over("TUMBLE", "1 HOUR", "7 MINUTE"))),
    ("weeks", "TUMBLE", _summary(_over("TUMBLE", "7 DAY"))),
    ("minutes by text, NULL among the keys", "TUMBLE", _counts(_MINUTE, "key")),
    ("minutes by a number and a flag", "TUMBLE", _counts(_MINUTE, "n", "ok")),
    ("hours by a decimal", "TUMBLE", _counts(_HOUR, "amount")),
    ("hours by a long number and a short one", "TUMBLE", _counts(_HOUR, "big", "small")),
    ("hours by a day", "TUMBLE", _counts(_HOUR, "day")),
    ("hours by a time without a zone and an instant", "TUMBLE", _counts(_HOUR, "local", "at")),
    ("hours by a DOUBLE", "TUMBLE", _counts(_HOUR, "x")),
    ("hours by an expression", "TUMBLE", f"SELECT window_end, LOWER(key) AS k, n > 0 AS up, COUNT(*) AS c FROM {_HOUR} {_BY}, LOWER(key), n > 0"),
    ("keys without aggregates", "TUMBLE", f"SELECT window_start, key, ok FROM {_TEN} {_BY}, key, ok"),
    ("first and last of every type", "TUMBLE", f"SELECT window_start, FIRST_VALUE(n) AS a, LAST_VALUE(big) AS b, FIRST_VALUE(amount) AS c, LAST_VALUE(text) AS d, FIRST_VALUE(ok) AS e, LAST_VALUE(day) AS f, "
     f"FIRST_VALUE(local) AS g, LAST_VALUE(at) AS h, FIRST_VALUE(x) AS i, LAST_VALUE(key) AS j, FIRST_VALUE(small) AS k FROM {_MINUTE} {_BY}"),
    ("smallest and largest of every type", "TUMBLE", f"SELECT window_start, MIN(n) AS a, MAX(big) AS b, MIN(amount) AS c, MAX(x) AS d, MIN(x) AS e, MIN(key) AS f, MAX(text) AS g, MAX(day) AS h, MIN(local) AS i, MAX(at) AS j "
     f"FROM {_TEN} {_BY}"),
    ("sums and means of integers and decimals", "TUMBLE", f"SELECT window_start, SUM(n) AS a, AVG(n) AS b, SUM(amount) AS c, AVG(amount) AS d, SUM(small) AS e FROM {_TEN} {_BY}"),
    ("sums and means of long numbers", "TUMBLE", f"SELECT window_start, SUM(big) AS a, AVG(big) AS b FROM {_TEN} {_BY}"),
    ("sums of negative zeros", "TUMBLE", f"SELECT window_start, SUM(x * n) AS a FROM {_MINUTE} WHERE x BETWEEN -1000 AND 1e6 {_BY}"),
    ("keys of negative zeros", "TUMBLE", f"SELECT window_start, n * x AS z, COUNT(*) AS c, MIN(x * n) AS a, MAX(-x) AS b, COUNT(DISTINCT n * x) AS d FROM {_HOUR} {_BY}, n * x"),
    ("smallest and largest of negative zeros", "TUMBLE", f"SELECT window_start, COUNT(*) AS c, MIN(x * n) AS a, MAX(-x) AS b, COUNT(DISTINCT n * x) AS d FROM {_MINUTE} WHERE x BETWEEN -0.5 AND 0.5 {_BY}"),
    ("sums and means of doubles", "TUMBLE", f"SELECT window_start, SUM(x) AS a, AVG(x) AS b, SUM(x * 2) AS c FROM {_MINUTE} WHERE x BETWEEN -1000 AND 1e6 {_BY}"),
    ("deviations and variances", "TUMBLE", f"SELECT window_start, STDDEV_POP(small) AS a, STDDEV_SAMP(small) AS b, VAR_POP(small) AS c, VAR_SAMP(x) AS d FROM {_TEN} WHERE x < 1e6 AND x > -1e6 {_BY}"),
    ("percentiles", "TUMBLE", f"SELECT window_start, PERCENTILE(n, 0.5) AS a, PERCENTILE(x, 0.9) AS b, PERCENTILE(amount, 0) AS c, PERCENTILE(small, 1) AS d FROM {_TEN} {_BY}"),
    ("lists", "TUMBLE", f"SELECT window_start, LISTAGG(key) AS a, LISTAGG(text, '|') AS b, COUNT(DISTINCT key) AS c, COUNT(DISTINCT amount) AS d FROM {_MINUTE} {_BY}"),
    ("aggregates under a condition", "TUMBLE", f"SELECT window_start, COUNT(*) FILTER (WHERE ok) AS a, SUM(n) FILTER (WHERE n > 0 AND n < 11) AS b, FIRST_VALUE(id) FILTER (WHERE NOT ok) AS c, MAX(key) FILTER (WHERE key < 'z') AS d, "
     f"COUNT(DISTINCT key) FILTER (WHERE n IS NULL) AS e FROM {_MINUTE} {_BY} HAVING COUNT(*) > 1"),
    ("reckoning with aggregates", "TUMBLE", f"SELECT window_end, SUM(n) / COUNT(*) AS a, MAX(id) - MIN(id) AS b, CASE WHEN COUNT(n) = 0 THEN 'none' ELSE CAST(MAX(amount) AS STRING) END AS c FROM {_MINUTE} {_BY} HAVING MAX(id) <> MIN(id)"),
    ("a filter before the windows", "TUMBLE", _summary(_MINUTE).replace(_BY, f"WHERE ok AND key IS NOT NULL {_BY}")),
    ("windows of which all are filtered out", "TUMBLE", _summary(_MINUTE).replace(_BY, f"WHERE id < 0 {_BY}")),
    ("a renamed time below the window", "TUMBLE", f"WITH r AS (SELECT event_time AS ts, n FROM readings WHERE n > 0) SELECT window_time, COUNT(*) AS c FROM {_over('TUMBLE', '5 MINUTE', table='r', time='ts')} {_BY}, window_time"),
    ("hops", "HOP", _summary(_over("HOP", "30 SECOND", "2 MINUTE"))),
    ("hops by key", "HOP", _counts(_over("HOP", "1 MINUTE", "5 MINUTE"), "key")),
    ("hops with an offset", "HOP", _counts(_over("HOP", "20 SECOND", "1 MINUTE", "7 SECOND"), "ok")),
    ("hops of doubles and lists", "HOP", f"SELECT window_start, window_end, SUM(x) AS a, LISTAGG(key) AS b, COUNT(DISTINCT key) AS c FROM {_over('HOP', '1 MINUTE', '3 MINUTE')} WHERE x < 1e6 AND x > -1e6 {_BY}"),
    ("hops out of panes", "HOP", _summary(_over("HOP", "10 SECOND", "10 MINUTE"))),
    ("hops out of panes, by key", "HOP", f"SELECT window_start, window_end, key, COUNT(*) AS c, AVG(small) AS a, MAX(amount) AS m, LAST_VALUE(id) AS l FROM {_over('HOP', '5 MINUTE', '1 DAY')} {_BY}, key HAVING COUNT(*) > 6"),
    ("minutes that cover a day", "HOP", f"SELECT window_start, window_end, COUNT(*) AS c, SUM(n) AS s FROM {_over('HOP', '1 MINUTE', '1 DAY')} {_BY}"),
    ("growing quarters of an hour", "CUMULATE", _summary(_over("CUMULATE", "5 MINUTE", "15 MINUTE"))),
    ("growing windows by key", "CUMULATE", _counts(_over("CUMULATE", "1 MINUTE", "10 MINUTE"), "key")),
    ("days that grow by the hour, out of panes", "CUMULATE", _summary(_over("CUMULATE", "1 HOUR", "1 DAY"))),
    ("growing windows of doubles", "CUMULATE", f"SELECT window_start, window_end, SUM(x) AS a, COUNT(DISTINCT key) AS b FROM {_over('CUMULATE', '1 MINUTE', '5 MINUTE')} WHERE x < 1e6 AND x > -1e6 {_BY}"),
    ("sessions", "SESSION", _summary(_over("SESSION", "15 SECOND"))),
    ("sessions by key", "SESSION", _counts(_over("SESSION", "90 SECOND", partition="key"), "key")),
    ("sessions by two keys", "SESSION", f"SELECT window_start, window_end, n, ok, COUNT(*) AS c, FIRST_VALUE(id) AS f, LAST_VALUE(amount) AS l FROM {_over('SESSION', '5 MINUTE', partition='n, ok')} {_BY}, n, ok"),
    ("sessions by four keys", "SESSION", f"SELECT window_start, key, day, local, amount, COUNT(*) AS c FROM {_over('SESSION', '50 MINUTE', partition='key, day, local, amount')} {_BY}, amount, key, day, local HAVING COUNT(*) > 1"),
    ("sessions by a DOUBLE", "SESSION", f"SELECT window_start, x, COUNT(*) AS c FROM {_over('SESSION', '5 MINUTE', partition='x')} {_BY}, x"),
    ("sessions of filtered rows", "SESSION", f"SELECT window_start, window_end, COUNT(*) AS c FROM {_over('SESSION', '25 SECOND')} WHERE ok {_BY}"),
    ("rows of a session that touch", "SESSION", f"SELECT window_start, window_end, key, COUNT(*) AS c, MAX(n) AS m, AVG(small) AS a FROM {_over('SESSION', '1 MINUTE', partition='key')} {_BY}, key HAVING COUNT(*) > 1"),
    ("minutes within hours", "windows over windows", f"WITH m AS (SELECT window_time, key, COUNT(*) AS c, SUM(n) AS s FROM {_MINUTE} {_BY}, window_time, key) "
     f"SELECT window_start, window_end, SUM(c) AS c, COUNT(*) AS k, MAX(s) AS s FROM {_over('TUMBLE', '1 HOUR', table='m', time='window_time')} {_BY}"),
    ("hops of minutes", "windows over windows", f"WITH m AS (SELECT window_time, MAX(amount) AS top FROM {_MINUTE} {_BY}, window_time) SELECT window_start, window_end, SUM(top) AS t FROM {_over('HOP', '5 MINUTE', '15 MINUTE', table='m', time='window_time')} {_BY}"),
    ("the newest of each key and minute", "de-duplication", _ranked(_MINUTE, "key", "event_time DESC, id DESC", "r = 1", "window_start, key, id")),
    ("the first of each key and hour", "de-duplication", _ranked(_HOUR, "key", "event_time", "r = 1", "window_end, key, id, text")),
    ("the first of each text and day", "de-duplication", _ranked(_DAY, "text", "id", "r <= 1", "window_end, text, id")),
    ("counts of de-duplicated rows", "de-duplication", f"SELECT window_start, window_end, COUNT(*) AS c FROM ({_ranked(_TEN, 'key', 'event_time', 'r = 1', '*')}) {_BY}"),
    ("the three largest of ten minutes", "top-N", _ranked(_TEN, "", "amount DESC, id", "r <= 3", "window_start, r, id, amount")),
    ("the smallest of each key, NULLs first", "top-N", _ranked(_HOUR, "key", "n, id DESC", "r < 3", "window_start, key, r, id, n")),
    ("ties in order of time and input", "top-N", _ranked(_TEN, "", "ok", "r <= 4", "window_start, r, id, ok")),
    ("the largest DOUBLE and its text", "top-N", _ranked(_HOUR, "ok", "x DESC, text, id", "r <= 2", "window_end, ok, r, x, text")),
    ("the best of hops", "top-N", _ranked(_over("HOP", "5 MINUTE", "10 MINUTE"), "", "big DESC, id", "r <= 2", "window_start, window_end, r, id")),
    ("ranks of negative zeros", "top-N", f"SELECT window_start, r, id, z FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY z, id) AS r FROM "
     f"(SELECT window_start, window_end, id, n * x AS z FROM {_TEN})) WHERE r <= 9"),
    ("the busiest keys of each hour", "top-N", f"SELECT window_start, r, key, c FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY c DESC, key) AS r FROM ({_counts(_HOUR, 'key')})) WHERE r <= 2"),
)  # fmt: skip
