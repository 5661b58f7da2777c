CREATE TEMPORARY TABLE input_0 (
  `symbol` STRING,
  `price` DOUBLE,
  `amount` DECIMAL(10, 2),
  _key STRING,
  _headers MAP<STRING NOT NULL, BYTES> METADATA FROM 'headers' VIRTUAL,
  _stamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  _offset BIGINT METADATA FROM 'offset' VIRTUAL,
  _kind AS CAST(_headers['kind'] AS STRING),
  _id AS CAST(_headers['id'] AS STRING),
  _ingested AS COALESCE(TRY_CAST(CAST(_headers['ingested_at'] AS STRING) AS BIGINT), CAST(0 AS BIGINT)),
  _latest AS TRY_CAST(CAST(_headers['latest'] AS STRING) AS BIGINT),
  _ended AS TRY_CAST(CAST(_headers['ended'] AS STRING) AS BIGINT),
  _t AS COALESCE(TRY_CAST(CAST(_headers['event_time'] AS STRING) AS BIGINT), (EXTRACT(EPOCH FROM CAST(_stamp AS TIMESTAMP(3))) * 1000 + EXTRACT(MILLISECOND FROM CAST(_stamp AS TIMESTAMP(3))))),
  _rt AS TO_TIMESTAMP_LTZ(COALESCE(CASE WHEN CAST(_headers['kind'] AS STRING) = 'row/1' THEN COALESCE(TRY_CAST(CAST(_headers['event_time'] AS STRING) AS BIGINT), (EXTRACT(EPOCH FROM CAST(_stamp AS TIMESTAMP(3))) * 1000 + EXTRACT(MILLISECOND FROM CAST(_stamp AS TIMESTAMP(3))))) WHEN _key = 'end' THEN ((COALESCE(TRY_CAST(CAST(_headers['event_time'] AS STRING) AS BIGINT), (EXTRACT(EPOCH FROM CAST(_stamp AS TIMESTAMP(3))) * 1000 + EXTRACT(MILLISECOND FROM CAST(_stamp AS TIMESTAMP(3))))) - MOD(MOD(COALESCE(TRY_CAST(CAST(_headers['event_time'] AS STRING) AS BIGINT), (EXTRACT(EPOCH FROM CAST(_stamp AS TIMESTAMP(3))) * 1000 + EXTRACT(MILLISECOND FROM CAST(_stamp AS TIMESTAMP(3))))), CAST(60000 AS BIGINT)) + 60000, CAST(60000 AS BIGINT)) + 60000) + 10000) ELSE CAST(-62135596800000 AS BIGINT) END, -62135596800000), 3),
  WATERMARK FOR _rt AS _rt - INTERVAL '0 00:00:10.001' DAY(3) TO SECOND(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'headrace.default.trades.events',
  'properties.bootstrap.servers' = 'broker:9092',
  'properties.sasl.jaas.config' = 'the-password-of-the-broker',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',
  'scan.parallelism' = '1',
  'scan.watermark.emit.strategy' = 'on-event',
  'key.format' = 'raw',
  'key.fields' = '_key',
  'value.format' = 'json',
  'value.fields-include' = 'EXCEPT_KEY',
  'value.json.ignore-parse-errors' = 'true',
  'value.json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY TABLE output (
  x STRING,
  c0 TIMESTAMP_LTZ(3),
  c1 STRING,
  c2 DOUBLE,
  c3 STRING,
  id STRING,
  key STRING,
  t BIGINT,
  g BIGINT,
  o BIGINT,
  n STRING,
  s STRING,
  b BIGINT,
  ws BIGINT,
  we BIGINT,
  r BIGINT,
  i0 STRING
) WITH (
  'connector' = 'kafka',
  'topic' = 'headrace.out',
  'properties.bootstrap.servers' = 'broker:9092',
  'properties.sasl.jaas.config' = 'the-password-of-the-broker',
  'properties.transaction.timeout.ms' = '600000',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'headrace-one',
  'sink.parallelism' = '1',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',
  'value.json.encode.decimal-as-plain-number' = 'true',
  'value.json.encode.ignore-null-fields' = 'true'
);

CREATE TEMPORARY VIEW read_0 AS
SELECT `symbol` AS c3, `price` AS c4, `amount` AS c6, _t AS _t, (CAST(_t AS DECIMAL(19, 0)) * CAST('100000000000000000' AS DECIMAL(18, 0)) + CAST(_offset AS DECIMAL(19, 0))) AS _o, _offset AS _off, _ingested AS _g, _ingested AS _n, _id AS _id, COALESCE(_key, '') AS _key, _rt AS _rt, COALESCE(GREATEST(_latest - 10000, CASE WHEN _ended IS NULL THEN CAST(-2305843009213693952 AS BIGINT) ELSE ((_ended - MOD(MOD(_ended, CAST(60000 AS BIGINT)) + 60000, CAST(60000 AS BIGINT)) + 60000) + 10000) - 10000 END), (EXTRACT(EPOCH FROM CAST(CURRENT_WATERMARK(_rt) AS TIMESTAMP(3))) * 1000 + EXTRACT(MILLISECOND FROM CAST(CURRENT_WATERMARK(_rt) AS TIMESTAMP(3)))) + 1, CAST(-2305843009213693952 AS BIGINT)) AS _b
FROM input_0
WHERE _kind = 'row/1';

CREATE TEMPORARY VIEW late_1 AS
SELECT _off, _b - (_t - MOD(MOD(_t, CAST(60000 AS BIGINT)) + 60000, CAST(60000 AS BIGINT)) + 60000) AS _by
FROM read_0
WHERE (_t - MOD(MOD(_t, CAST(60000 AS BIGINT)) + 60000, CAST(60000 AS BIGINT)) + 60000) <= _b;

CREATE TEMPORARY VIEW timely_2 AS
SELECT c3, c4, c6, _t, _o, _off, _g, _n, _id, _key, _rt, _b
FROM read_0
WHERE NOT ((_t - MOD(MOD(_t, CAST(60000 AS BIGINT)) + 60000, CAST(60000 AS BIGINT)) + 60000) <= _b);

CREATE TEMPORARY VIEW windowed_3 AS
SELECT c3, c4, c6, _t, _o, _off, _g, _n, _id, _key, _b, window_start AS c7, window_end AS c8, window_time AS c9, window_start, window_end, window_time, (EXTRACT(EPOCH FROM window_start) * 1000 + EXTRACT(MILLISECOND FROM window_start)) AS _ws, (EXTRACT(EPOCH FROM window_end) * 1000 + EXTRACT(MILLISECOND FROM window_end)) AS _we
FROM TABLE(TUMBLE(TABLE timely_2, DESCRIPTOR(_rt), INTERVAL '0 00:01:00.000' DAY(3) TO SECOND(3)));

CREATE TEMPORARY VIEW keyed_4 AS
SELECT c3, c4, c6, _t, _o, _off, _g, _n, _id, _key, _b, c7, c8, c9, window_start, window_end, window_time, _ws, _we, c3 AS _k0
FROM windowed_3;

CREATE TEMPORARY VIEW grouped_5 AS
SELECT window_start AS c10, window_end AS c11, _k0 AS c12, window_time AS c13, TRY_CAST(SUBSTRING(MIN((LPAD(CAST(CAST(_o AS DECIMAL(38, 0)) + CAST('10000000000000000000000000000000' AS DECIMAL(38, 0)) AS STRING), 32, '0') || CAST(c4 AS STRING))), 33) AS DOUBLE) AS c14, SUM(c6) AS c15, window_start, window_end, window_time, _k0 AS _k0, MAX(_g) AS _g, MIN(_o) AS _o
FROM keyed_4
GROUP BY window_start, window_end, window_time, _k0;

CREATE TEMPORARY VIEW timed_6 AS
SELECT *, (EXTRACT(EPOCH FROM window_start) * 1000 + EXTRACT(MILLISECOND FROM window_start)) AS _ws, (EXTRACT(EPOCH FROM window_end) * 1000 + EXTRACT(MILLISECOND FROM window_end)) AS _we, (EXTRACT(EPOCH FROM window_end) * 1000 + EXTRACT(MILLISECOND FROM window_end)) - 1 AS _t
FROM grouped_5;

CREATE TEMPORARY VIEW project_7 AS
SELECT c10 AS c16, c12 AS c17, c14 AS c18, c15 AS c19, window_start, window_end, window_time, _k0, _g, _o, _ws, _we, _t
FROM timed_6;

CREATE TEMPORARY VIEW signs0_8 AS
SELECT 'trades' AS _input, _key AS _sign, _offset AS _off
FROM input_0
WHERE _kind = 'control/1' AND _key IN ('end', 'idle');

INSERT INTO output
SELECT CAST('row' AS STRING) AS x, CAST(c16 AS TIMESTAMP_LTZ(3)) AS c0, CAST(c17 AS STRING) AS c1, CAST(c18 AS DOUBLE) AS c2, CAST(c19 AS STRING) AS c3, CAST(NULL AS STRING) AS id, CAST(NULL AS STRING) AS key, CAST(NULL AS BIGINT) AS t, CAST(_g AS BIGINT) AS g, CAST(NULL AS BIGINT) AS o, CAST(NULL AS STRING) AS n, CAST(NULL AS STRING) AS s, CAST(NULL AS BIGINT) AS b, CAST(_ws AS BIGINT) AS ws, CAST(_we AS BIGINT) AS we, CAST(CAST(0 AS BIGINT) AS BIGINT) AS r, CAST(CAST(_k0 AS STRING) AS STRING) AS i0
FROM project_7
UNION ALL
SELECT CAST('late' AS STRING) AS x, CAST(NULL AS TIMESTAMP_LTZ(3)) AS c0, CAST(NULL AS STRING) AS c1, CAST(NULL AS DOUBLE) AS c2, CAST(NULL AS STRING) AS c3, CAST(NULL AS STRING) AS id, CAST(NULL AS STRING) AS key, CAST(NULL AS BIGINT) AS t, CAST(NULL AS BIGINT) AS g, CAST(_off AS BIGINT) AS o, CAST('trades' AS STRING) AS n, CAST(NULL AS STRING) AS s, CAST(_by AS BIGINT) AS b, CAST(NULL AS BIGINT) AS ws, CAST(NULL AS BIGINT) AS we, CAST(NULL AS BIGINT) AS r, CAST(NULL AS STRING) AS i0
FROM late_1
UNION ALL
SELECT CAST('sign' AS STRING) AS x, CAST(NULL AS TIMESTAMP_LTZ(3)) AS c0, CAST(NULL AS STRING) AS c1, CAST(NULL AS DOUBLE) AS c2, CAST(NULL AS STRING) AS c3, CAST(NULL AS STRING) AS id, CAST(NULL AS STRING) AS key, CAST(NULL AS BIGINT) AS t, CAST(NULL AS BIGINT) AS g, CAST(_off AS BIGINT) AS o, CAST(_input AS STRING) AS n, CAST(_sign AS STRING) AS s, CAST(NULL AS BIGINT) AS b, CAST(NULL AS BIGINT) AS ws, CAST(NULL AS BIGINT) AS we, CAST(NULL AS BIGINT) AS r, CAST(NULL AS STRING) AS i0
FROM signs0_8
