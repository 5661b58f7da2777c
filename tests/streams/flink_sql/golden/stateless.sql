CREATE TEMPORARY TABLE input_0 (
  `id` BIGINT,
  `symbol` STRING,
  `price` DOUBLE,
  `qty` INT,
  _key STRING,
  _headers MAP<STRING NOT NULL, BYTES> METADATA FROM 'headers' VIRTUAL,
  _stamp TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  _offset BIGINT METADATA FROM 'offset' VIRTUAL,
  _kind AS CAST(_headers['kind'] AS STRING),
  _id AS CAST(_headers['id'] AS STRING),
  _ingested AS COALESCE(TRY_CAST(CAST(_headers['ingested_at'] AS STRING) AS BIGINT), CAST(0 AS BIGINT)),
  _latest AS TRY_CAST(CAST(_headers['latest'] AS STRING) AS BIGINT),
  _ended AS TRY_CAST(CAST(_headers['ended'] AS STRING) AS BIGINT),
  _t AS COALESCE(TRY_CAST(CAST(_headers['event_time'] AS STRING) AS BIGINT), (EXTRACT(EPOCH FROM CAST(_stamp AS TIMESTAMP(3))) * 1000 + EXTRACT(MILLISECOND FROM CAST(_stamp AS TIMESTAMP(3)))))
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
  c0 BIGINT,
  c1 STRING,
  c2 DOUBLE,
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
SELECT `id` AS c2, `symbol` AS c3, `price` AS c4, `qty` AS c5, _t AS _t, (CAST(_t AS DECIMAL(19, 0)) * CAST('100000000000000000' AS DECIMAL(18, 0)) + CAST(_offset AS DECIMAL(19, 0))) AS _o, _offset AS _off, _ingested AS _g, _ingested AS _n, _id AS _id, COALESCE(_key, '') AS _key
FROM input_0
WHERE _kind = 'row/1';

CREATE TEMPORARY VIEW project_1 AS
SELECT c2 AS c8, c3 AS c9, c4 AS c10, _t, _o, _off, _g, _n, _id, _key
FROM read_0
WHERE (c5 > CAST('3' AS INT));

CREATE TEMPORARY VIEW project_2 AS
SELECT c8 AS c13, CAST(UPPER(CAST(c9 AS STRING)) AS STRING) AS c14, CAST((CAST(c10 AS DOUBLE) * CAST(CAST('2' AS INT) AS DOUBLE)) AS DOUBLE) AS c15, _t, _o, _off, _g, _n, _id, _key
FROM project_1;

CREATE TEMPORARY VIEW signs0_3 AS
SELECT 'trades' AS _input, _key AS _sign, _offset AS _off
FROM input_0
WHERE _kind = 'control/1' AND _key IN ('end', 'idle');

INSERT INTO output
SELECT CAST('row' AS STRING) AS x, CAST(c13 AS BIGINT) AS c0, CAST(c14 AS STRING) AS c1, CAST(c15 AS DOUBLE) AS c2, CAST(_id AS STRING) AS id, CAST(_key AS STRING) AS key, CAST(_t AS BIGINT) AS t, CAST(_g AS BIGINT) AS g, CAST(_off AS BIGINT) AS o, CAST(NULL AS STRING) AS n, CAST(NULL AS STRING) AS s, CAST(NULL AS BIGINT) AS b
FROM project_2
UNION ALL
SELECT CAST('sign' AS STRING) AS x, CAST(NULL AS BIGINT) AS c0, CAST(NULL AS STRING) AS c1, CAST(NULL AS DOUBLE) AS c2, CAST(NULL AS STRING) AS id, CAST(NULL AS STRING) AS key, CAST(NULL AS BIGINT) AS t, CAST(NULL AS BIGINT) AS g, CAST(_off AS BIGINT) AS o, CAST(_input AS STRING) AS n, CAST(_sign AS STRING) AS s, CAST(NULL AS BIGINT) AS b
FROM signs0_3
