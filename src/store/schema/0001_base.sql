-- 0001: the ground floor. Times are UTC milliseconds unless a name says otherwise; durations are
-- microseconds; money is nano-USD; booleans are 0/1. Identities of channels, keys, users and
-- tokens are (site, id): site 0 is this installation, others are configured new-api systems.

CREATE TABLE settings (
  key TEXT PRIMARY KEY,
  value BLOB NOT NULL,              -- text, or sealed bytes when is_secret
  is_secret INTEGER NOT NULL DEFAULT 0,
  updated_utc_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE channels (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  base_url TEXT NOT NULL,
  api_key BLOB NOT NULL,            -- sealed
  api_keys BLOB,                    -- sealed JSON array of further keys, NULL = none
  enabled INTEGER NOT NULL DEFAULT 1,
  interval_min INTEGER NOT NULL DEFAULT 30,
  timeout_s REAL NOT NULL DEFAULT 30.0,
  verify_ssl INTEGER NOT NULL DEFAULT 0,
  prompt TEXT NOT NULL,
  anthropic_version TEXT NOT NULL DEFAULT '2025-09-29',
  max_models INTEGER NOT NULL DEFAULT 0,
  source_url TEXT,
  sort_order INTEGER NOT NULL DEFAULT 0,
  visitor_channel_actions_enabled INTEGER NOT NULL DEFAULT 0,
  selected_models TEXT NOT NULL DEFAULT '[]',
  route_overrides TEXT NOT NULL DEFAULT '{}', -- model -> chat|responses|anthropic|gemini|skip
  skip_unprobeable INTEGER NOT NULL DEFAULT 0, -- embeddings, rerank, image, audio, moderation are not probed
  lenient INTEGER NOT NULL DEFAULT 1,          -- the extra success rules
  stream_probe INTEGER NOT NULL DEFAULT 0,     -- probe by streaming, measure time to first token
  user_agent TEXT,
  proxy_url TEXT,                   -- outbound proxy of this channel
  public INTEGER NOT NULL DEFAULT 0,
  tags TEXT NOT NULL DEFAULT '[]',
  first_byte_timeout_s REAL NOT NULL DEFAULT 300,
  idle_timeout_s REAL NOT NULL DEFAULT 300,
  by_visitor INTEGER NOT NULL DEFAULT 0, -- a visitor gave base_url: never to private addresses
  created_utc_ms INTEGER NOT NULL,
  updated_utc_ms INTEGER NOT NULL
);
CREATE INDEX channels_order ON channels(sort_order, id);

-- What the newest run left: changes with each run, so it is kept out of the catalog.
CREATE TABLE channel_state (
  channel_id INTEGER PRIMARY KEY REFERENCES channels(id) ON DELETE CASCADE,
  last_run_id INTEGER,
  last_run_utc_ms INTEGER,          -- end of the last run
  last_status TEXT,                 -- healthy degraded down error no_models
  last_total INTEGER, last_success INTEGER, last_fail INTEGER,
  last_log_file TEXT,
  last_error TEXT
);

CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  channel_id INTEGER NOT NULL REFERENCES channels(id) ON DELETE CASCADE,
  started_utc_ms INTEGER NOT NULL,
  finished_utc_ms INTEGER,
  status TEXT NOT NULL,             -- running completed error
  total INTEGER NOT NULL DEFAULT 0, success INTEGER NOT NULL DEFAULT 0, fail INTEGER NOT NULL DEFAULT 0,
  log_file TEXT,
  error TEXT,
  cause TEXT NOT NULL DEFAULT 'schedule' -- schedule manual import
);
CREATE INDEX runs_channel ON runs(channel_id, started_utc_ms, id);
CREATE INDEX runs_open ON runs(id) WHERE status = 'running';

-- Detail of each probe: what pages, runs, logs and status timelines show.
CREATE TABLE probe_results (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  item_kind INTEGER NOT NULL,       -- 0 channel, 1 declared monitor
  item_id INTEGER NOT NULL,
  run_id INTEGER NOT NULL DEFAULT 0, -- 0 = no run (monitors)
  at_utc_ms INTEGER NOT NULL,       -- when the verdict was reached
  model TEXT NOT NULL DEFAULT '',
  protocol TEXT NOT NULL DEFAULT '', -- openai anthropic gemini
  route TEXT NOT NULL DEFAULT '',   -- chat responses anthropic gemini
  endpoint TEXT NOT NULL DEFAULT '', -- chat responses messages gemini
  outcome INTEGER NOT NULL,         -- llm/outcome.h; numbers are for ever
  status INTEGER NOT NULL,          -- 0 red 1 green 2 yellow
  sub_status TEXT NOT NULL DEFAULT '',
  success INTEGER NOT NULL,
  transport_success INTEGER NOT NULL,
  is_stream INTEGER NOT NULL DEFAULT 0,
  duration_us INTEGER NOT NULL DEFAULT 0,
  ttfb_us INTEGER, ttft_us INTEGER, ping_us INTEGER, dns_us INTEGER, connect_us INTEGER, tls_us INTEGER,
  http_status INTEGER,              -- NULL = no HTTP answer
  tool_calls_count INTEGER NOT NULL DEFAULT 0,
  tool_calls TEXT,
  content TEXT,
  error TEXT
);
CREATE INDEX probe_results_item ON probe_results(item_kind, item_id, at_utc_ms);
CREATE INDEX probe_results_model ON probe_results(item_kind, item_id, model, at_utc_ms);
CREATE INDEX probe_results_run ON probe_results(run_id) WHERE run_id > 0;
CREATE INDEX probe_results_time ON probe_results(at_utc_ms);

CREATE TABLE proxy_keys (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  key_hash BLOB NOT NULL UNIQUE,    -- SHA-256 of the whole token
  key_prefix TEXT NOT NULL,         -- first 12 characters
  allowed_channels TEXT NOT NULL DEFAULT '[]',
  allowed_models TEXT NOT NULL DEFAULT '[]',
  description TEXT NOT NULL DEFAULT '',
  enabled INTEGER NOT NULL DEFAULT 1,
  created_utc_ms INTEGER NOT NULL,
  revoked_utc_ms INTEGER,
  last_used_utc_ms INTEGER,
  last_used_channel_id INTEGER
);

CREATE TABLE sessions (
  token_hash BLOB PRIMARY KEY,      -- SHA-256
  role TEXT NOT NULL,
  created_utc_ms INTEGER NOT NULL,
  seen_utc_ms INTEGER NOT NULL,
  peer TEXT NOT NULL DEFAULT '',
  user_agent TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at_utc_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,              -- admin session, admin token, visitor, system
  peer TEXT NOT NULL DEFAULT '',
  action TEXT NOT NULL,             -- channel.create, settings.update, ...
  subject TEXT NOT NULL DEFAULT '',
  detail TEXT NOT NULL DEFAULT ''   -- never a secret
);

-- ---- the ledger ----

-- One row a call that ended. Append-only; indexed by time alone (a scattered index is three
-- quarters of an insert's cost); blanking a user is the only update.
CREATE TABLE call_events (
  row INTEGER PRIMARY KEY,
  id BLOB NOT NULL,                 -- 128 bits, time-ordered
  ended_utc_ms INTEGER NOT NULL,
  origin INTEGER NOT NULL,          -- gateway probe ingest newapi
  kind INTEGER NOT NULL,            -- call attempt test adjustment
  site INTEGER NOT NULL,
  source TEXT, provider TEXT, grp TEXT, user TEXT,
  key_id INTEGER NOT NULL, channel_id INTEGER NOT NULL,
  model TEXT, served_model TEXT,
  protocol INTEGER NOT NULL, outcome INTEGER NOT NULL,
  http_status INTEGER NOT NULL, is_stream INTEGER NOT NULL,
  duration_us INTEGER NOT NULL, ttft_us INTEGER NOT NULL,
  t_input INTEGER NOT NULL, t_cache_read INTEGER NOT NULL, t_cache_write_5m INTEGER NOT NULL,
  t_cache_write_1h INTEGER NOT NULL, t_output INTEGER NOT NULL, t_reasoning INTEGER NOT NULL, t_unsplit INTEGER NOT NULL,
  cost_nano_usd INTEGER NOT NULL, charge_units INTEGER NOT NULL,
  usage_source INTEGER NOT NULL, cost_source INTEGER NOT NULL, price_version INTEGER NOT NULL,
  request_id TEXT, upstream_request_id TEXT, command TEXT,
  error_class TEXT, error_text TEXT,
  attempts INTEGER NOT NULL
);
CREATE INDEX call_events_time ON call_events(ended_utc_ms);
CREATE TABLE call_ids (id BLOB PRIMARY KEY, row INTEGER NOT NULL) WITHOUT ROWID;

-- First roll-up family. A key row is written once; the sums refer to it.
CREATE TABLE rollup_keys (
  id INTEGER PRIMARY KEY,
  origin INTEGER NOT NULL, kind INTEGER NOT NULL, site INTEGER NOT NULL,
  source TEXT NOT NULL, provider TEXT NOT NULL, channel_id INTEGER NOT NULL,
  model TEXT NOT NULL, grp TEXT NOT NULL, key_id INTEGER NOT NULL,
  UNIQUE (origin, kind, site, source, provider, channel_id, model, grp, key_id)
);
CREATE TABLE rollup_minute (
  at INTEGER NOT NULL,              -- minutes since the epoch, UTC
  rk INTEGER NOT NULL,
  n INTEGER NOT NULL,
  n_ok INTEGER NOT NULL, n_degraded INTEGER NOT NULL, n_upstream INTEGER NOT NULL, n_rate_limit INTEGER NOT NULL,
  n_quota INTEGER NOT NULL, n_auth INTEGER NOT NULL, n_client INTEGER NOT NULL, n_cancelled INTEGER NOT NULL,
  n_timeout INTEGER NOT NULL, n_network INTEGER NOT NULL, n_tls INTEGER NOT NULL, n_dns INTEGER NOT NULL,
  n_stream INTEGER NOT NULL, n_estimated INTEGER NOT NULL,
  t_input INTEGER NOT NULL, t_cache_read INTEGER NOT NULL, t_cache_write_5m INTEGER NOT NULL,
  t_cache_write_1h INTEGER NOT NULL, t_output INTEGER NOT NULL, t_reasoning INTEGER NOT NULL, t_unsplit INTEGER NOT NULL,
  cost_nano_usd INTEGER NOT NULL, charge_units INTEGER NOT NULL,
  duration BLOB, ttft BLOB,         -- base/hist.h, NULL = empty
  PRIMARY KEY (at, rk)
) WITHOUT ROWID;
CREATE TABLE rollup_quarter (       -- at: quarter hours since the epoch, UTC
  at INTEGER NOT NULL, rk INTEGER NOT NULL, n INTEGER NOT NULL,
  n_ok INTEGER NOT NULL, n_degraded INTEGER NOT NULL, n_upstream INTEGER NOT NULL, n_rate_limit INTEGER NOT NULL,
  n_quota INTEGER NOT NULL, n_auth INTEGER NOT NULL, n_client INTEGER NOT NULL, n_cancelled INTEGER NOT NULL,
  n_timeout INTEGER NOT NULL, n_network INTEGER NOT NULL, n_tls INTEGER NOT NULL, n_dns INTEGER NOT NULL,
  n_stream INTEGER NOT NULL, n_estimated INTEGER NOT NULL,
  t_input INTEGER NOT NULL, t_cache_read INTEGER NOT NULL, t_cache_write_5m INTEGER NOT NULL,
  t_cache_write_1h INTEGER NOT NULL, t_output INTEGER NOT NULL, t_reasoning INTEGER NOT NULL, t_unsplit INTEGER NOT NULL,
  cost_nano_usd INTEGER NOT NULL, charge_units INTEGER NOT NULL,
  duration BLOB, ttft BLOB,
  PRIMARY KEY (at, rk)
) WITHOUT ROWID;
CREATE TABLE rollup_day (           -- at: yyyymmdd in the reporting zone of the day it was written
  at INTEGER NOT NULL, rk INTEGER NOT NULL, n INTEGER NOT NULL,
  n_ok INTEGER NOT NULL, n_degraded INTEGER NOT NULL, n_upstream INTEGER NOT NULL, n_rate_limit INTEGER NOT NULL,
  n_quota INTEGER NOT NULL, n_auth INTEGER NOT NULL, n_client INTEGER NOT NULL, n_cancelled INTEGER NOT NULL,
  n_timeout INTEGER NOT NULL, n_network INTEGER NOT NULL, n_tls INTEGER NOT NULL, n_dns INTEGER NOT NULL,
  n_stream INTEGER NOT NULL, n_estimated INTEGER NOT NULL,
  t_input INTEGER NOT NULL, t_cache_read INTEGER NOT NULL, t_cache_write_5m INTEGER NOT NULL,
  t_cache_write_1h INTEGER NOT NULL, t_output INTEGER NOT NULL, t_reasoning INTEGER NOT NULL, t_unsplit INTEGER NOT NULL,
  cost_nano_usd INTEGER NOT NULL, charge_units INTEGER NOT NULL,
  duration BLOB, ttft BLOB,
  PRIMARY KEY (at, rk)
) WITHOUT ROWID;

-- Second family, by user and key.
CREATE TABLE user_rollup_keys (
  id INTEGER PRIMARY KEY,
  origin INTEGER NOT NULL, site INTEGER NOT NULL, user TEXT NOT NULL, key_id INTEGER NOT NULL,
  UNIQUE (origin, site, user, key_id)
);
CREATE TABLE user_rollup_quarter (
  at INTEGER NOT NULL, rk INTEGER NOT NULL,
  n INTEGER NOT NULL, n_ok INTEGER NOT NULL, n_failed INTEGER NOT NULL,
  t_input INTEGER NOT NULL, t_cached INTEGER NOT NULL, t_output INTEGER NOT NULL, t_unsplit INTEGER NOT NULL,
  cost_nano_usd INTEGER NOT NULL, charge_units INTEGER NOT NULL, duration_us INTEGER NOT NULL,
  PRIMARY KEY (at, rk)
) WITHOUT ROWID;
CREATE TABLE user_rollup_day (
  at INTEGER NOT NULL, rk INTEGER NOT NULL,
  n INTEGER NOT NULL, n_ok INTEGER NOT NULL, n_failed INTEGER NOT NULL,
  t_input INTEGER NOT NULL, t_cached INTEGER NOT NULL, t_output INTEGER NOT NULL, t_unsplit INTEGER NOT NULL,
  cost_nano_usd INTEGER NOT NULL, charge_units INTEGER NOT NULL, duration_us INTEGER NOT NULL,
  PRIMARY KEY (at, rk)
) WITHOUT ROWID;

-- Failed, degraded or slower than 1 s: what lists of errors, slow calls and one user's calls read.
CREATE TABLE notable (
  row INTEGER PRIMARY KEY,          -- = call_events.row
  ended_utc_ms INTEGER NOT NULL,
  origin INTEGER NOT NULL, kind INTEGER NOT NULL, site INTEGER NOT NULL,
  channel_id INTEGER NOT NULL, model TEXT, user TEXT,
  duration_us INTEGER NOT NULL, outcome INTEGER NOT NULL
);
CREATE INDEX notable_time ON notable(ended_utc_ms);

-- Where a producer stands (tail of a new-api log, replayed spool), moved in the ledger's transaction.
CREATE TABLE watermarks (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL,
  note TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
