-- Trades → one-minute bars: the first, highest, lowest and last price of each minute, and the amount that was traded.
-- Amounts are added as DECIMAL, so that a sum is exact whatever the order of its parts.
SELECT
  window_start AS event_time,
  symbol,
  FIRST_VALUE(price) AS `open`,
  MAX(price) AS high,
  MIN(price) AS low,
  LAST_VALUE(price) AS `close`,
  SUM(CAST(amount AS DECIMAL(38, 8))) AS volume
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, symbol
