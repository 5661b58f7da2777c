CREATE TEMPORARY TABLE input_0 (
  `id` BIGINT,
  `symbol` STRING,
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
  _rt AS TO_TIMESTAMP_LTZ(COALESCE(CASE WHEN CAST(_headers['kind'] AS STRING) = 'row/1' THEN _offset WHEN _key = 'end' THEN _offset ELSE _offset END, -62135596800000), 3),
  WATERMARK FOR _rt AS _rt
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

CREATE TEMPORARY TABLE table_0 (
  `symbol` STRING,
  `name` STRING,
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
  _rt AS TO_TIMESTAMP_LTZ(COALESCE(CASE WHEN CAST(_headers['kind'] AS STRING) = 'row/1' THEN CAST(-62135596800000 AS BIGINT) WHEN _key = 'end' THEN CAST(253402300799000 AS BIGINT) ELSE CAST(-62135596800000 AS BIGINT) END, -62135596800000), 3),
  WATERMARK FOR _rt AS _rt
) WITH (
  'connector' = 'kafka',
  'topic' = 'headrace.table.names',
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
  c0 BIGINT,
  c1 STRING,
  id STRING,
  key STRING,
  t BIGINT,
  g BIGINT,
  o BIGINT,
  n STRING,
  s STRING,
  b BIGINT
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
SELECT `id` AS c2, `symbol` AS c3, _t AS _t, (CAST(_t AS DECIMAL(19, 0)) * CAST('100000000000000000' AS DECIMAL(18, 0)) + CAST(_offset AS DECIMAL(19, 0))) AS _o, _offset AS _off, _ingested AS _g, _ingested AS _n, _id AS _id, COALESCE(_key, '') AS _key, _rt AS _rt
FROM input_0
WHERE _kind = 'row/1';

CREATE TEMPORARY VIEW joining_1 AS
SELECT c2, c3, _t, _o, _off, _g, _n, _id, _key, _rt, c3 AS _j0
FROM read_0;

CREATE TEMPORARY VIEW loaded_2 AS
SELECT _key AS _end
FROM table_0
WHERE _kind = 'control/1' AND _key = 'end';

CREATE TEMPORARY VIEW table_rows_3 AS
SELECT `symbol` AS c7, `name` AS c8, _rt AS _rt
FROM table_0
WHERE _kind = 'row/1';

CREATE TEMPORARY VIEW newest_4 AS
SELECT c7, c8, _rt
FROM (
  SELECT c7, c8, _rt, ROW_NUMBER() OVER (PARTITION BY c7 ORDER BY _rt DESC) AS _place FROM table_rows_3 WHERE c7 IS NOT NULL
) WHERE _place = 1;

CREATE TEMPORARY VIEW joined_5 AS
SELECT l.c2, l.c3, l._t, l._o, l._off, l._g, l._n, l._id, l._key, l._rt, r.c7, r.c8
FROM joining_1 AS l
JOIN newest_4 FOR SYSTEM_TIME AS OF l._rt AS r ON l._j0 = r.c7;

CREATE TEMPORARY VIEW project_6 AS
SELECT c2 AS c9, c8 AS c10, _t, _o, _off, _g, _n, _id, _key, _rt
FROM joined_5;

CREATE TEMPORARY VIEW signs0_7 AS
SELECT 'trades' AS _input, _key AS _sign, _offset AS _off
FROM input_0
WHERE _kind = 'control/1' AND _key IN ('end', 'idle');

CREATE TEMPORARY VIEW gated_8 AS
SELECT s._input, s._sign, s._off
FROM signs0_7 AS s
JOIN loaded_2 AS t ON t._end = 'end';

INSERT INTO output
SELECT CAST('row' AS STRING) AS x, CAST(c9 AS BIGINT) AS c0, CAST(c10 AS STRING) AS c1, CAST(_id AS STRING) AS id, CAST(_key AS STRING) AS key, CAST(_t AS BIGINT) AS t, CAST(_g AS BIGINT) AS g, CAST(_off AS BIGINT) AS o, CAST(NULL AS STRING) AS n, CAST(NULL AS STRING) AS s, CAST(NULL AS BIGINT) AS b
FROM project_6
UNION ALL
SELECT CAST('sign' AS STRING) AS x, CAST(NULL AS BIGINT) AS c0, CAST(NULL AS STRING) AS c1, CAST(NULL AS STRING) AS id, CAST(NULL AS STRING) AS key, CAST(NULL AS BIGINT) AS t, CAST(NULL AS BIGINT) AS g, CAST(_off AS BIGINT) AS o, CAST(_input AS STRING) AS n, CAST(_sign AS STRING) AS s, CAST(NULL AS BIGINT) AS b
FROM gated_8
