-- Trades → one-minute bars → windows of five minutes, a new one every minute: who pushed, how far, how busily.
WITH bars AS (
  SELECT
    window_start, window_end, window_time, symbol,
    CAST(FIRST_VALUE(price) AS DOUBLE) AS opened,
    CAST(LAST_VALUE(price) AS DOUBLE) AS closed,
    CAST(SUM(amount) AS DOUBLE) AS volume,
    CAST(SUM(CASE WHEN side = 'buy' THEN amount ELSE 0 END) AS DOUBLE) AS bought
  FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
  GROUP BY window_start, window_end, window_time, symbol
),
windows AS (
  SELECT
    window_start, window_end, symbol,
    CAST(ROUND((LAST_VALUE(closed) / FIRST_VALUE(opened) - 1) * 10000) AS INT) AS move_bp,
    CAST(ROUND(SUM(bought) / SUM(volume) * 100) AS INT) AS bought_percent,
    CAST(ROUND(LAST_VALUE(volume) / AVG(volume) * 100) AS INT) AS newest_percent
  FROM TABLE(HOP(TABLE bars, DESCRIPTOR(window_time), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE))
  GROUP BY window_start, window_end, symbol
)
SELECT
  window_end AS event_time, symbol, move_bp, bought_percent, newest_percent,
  CASE WHEN move_bp >= 3 THEN 'up' WHEN move_bp <= -3 THEN 'down' ELSE 'flat' END
    || ' | ' ||
  CASE WHEN bought_percent >= 60 THEN 'buyers' WHEN bought_percent <= 40 THEN 'sellers' ELSE 'balanced' END
    || ' | ' ||
  CASE WHEN newest_percent >= 150 THEN 'rising' WHEN newest_percent <= 50 THEN 'fading' ELSE 'steady' END
    AS answer
FROM windows
