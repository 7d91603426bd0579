"""Writes probe rows into a data directory that the daemon made, in the order of time as the daemon
would have: cycle by cycle, channel by channel, a run with a row for each model. Rows end now and
are INTERVAL apart, so that retention (30 days) leaves them alone.

As the daemon stores them: about 40 bytes of answer, one failure in 20 with its error text. The
indexes are dropped and made again at the end, which is faster and leaves them in better order than
a grown file has; freelist and WAL are empty. Call events and roll-ups are not written: the pages
measured here do not read them.
"""
import os
import sqlite3
import time

INTERVAL_MS = 30 * 60 * 1000
OUTCOME_OK, OUTCOME_SERVER_ERROR = 0, 7  # llm/outcome.h; numbers are for ever

RUNS = """
INSERT INTO runs(id, channel_id, started_utc_ms, finished_utc_ms, status, total, success, fail, log_file)
SELECT :first_run + c.n, c.id, :at + c.n * 1000, :at + c.n * 1000 + 9000, 'completed', :models, :models, 0,
       'logs/target_' || c.id || '_20260101_000000.jsonl'
FROM temp.ch c ORDER BY c.n"""

ROWS = """
INSERT INTO probe_results(item_kind, item_id, run_id, at_utc_ms, model, protocol, route, endpoint, outcome,
  status, sub_status, success, transport_success, duration_us, ttfb_us, ping_us, http_status, tool_calls_count,
  content, error)
SELECT 0, id, run, at, model, 'openai', 'chat', 'chat', ok * :ok_outcome + (1 - ok) * :bad_outcome, ok,
  CASE WHEN ok THEN '' ELSE 'server_error' END, ok, 1, 300000 + r % 4000000, 250000 + r % 3000000,
  20000 + r % 90000, CASE WHEN ok THEN 200 ELSE 500 END, 0,
  CASE WHEN ok THEN 'I am ' || model || ', a large language model.' END,
  CASE WHEN ok THEN NULL ELSE 'HTTP 500: upstream error: no capacity for ' || model || ', please retry later' END
FROM (SELECT c.id, :first_run + c.n AS run, :at + c.n * 1000 + m.n * 800 + 500 AS at, m.name AS model,
        abs(random()) AS r, abs(random()) % 20 > 0 AS ok
      FROM temp.ch c, temp.mo m ORDER BY c.n, m.n)"""

STATE = """
INSERT OR REPLACE INTO channel_state(channel_id, last_run_id, last_run_utc_ms, last_status, last_total,
  last_success, last_fail, last_log_file)
SELECT channel_id, max(id), max(finished_utc_ms), 'healthy', :models, :models, 0, log_file
FROM runs GROUP BY channel_id"""


def fill(data_dir, rows, models, say):
    path = os.path.join(data_dir, "gatehouse.db")
    began = time.monotonic()
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-1000000",
                   "temp_store=MEMORY", "foreign_keys=OFF"):
        db.execute("PRAGMA " + pragma).fetchall()
    indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
                         "AND tbl_name IN ('probe_results', 'runs')").fetchall()
    for name, _ in indexes:
        db.execute("DROP INDEX " + name)
    ids = [r[0] for r in db.execute("SELECT id FROM channels ORDER BY id")]
    db.execute("CREATE TEMP TABLE ch(n INTEGER PRIMARY KEY, id INTEGER)")
    db.executemany("INSERT INTO temp.ch VALUES (?, ?)", enumerate(ids))
    db.execute("CREATE TEMP TABLE mo(n INTEGER PRIMARY KEY, name TEXT)")
    db.executemany("INSERT INTO temp.mo VALUES (?, ?)", ((n, "bench-model-%02d" % n) for n in range(models)))
    cycles = rows // (len(ids) * models)
    first = int(time.time() * 1000) - cycles * INTERVAL_MS - 60000
    db.execute("BEGIN")
    for cycle in range(cycles):
        v = {"first_run": 1 + cycle * len(ids), "at": first + cycle * INTERVAL_MS, "models": models,
             "ok_outcome": OUTCOME_OK, "bad_outcome": OUTCOME_SERVER_ERROR}
        db.execute(RUNS, {k: v[k] for k in ("first_run", "at", "models")})
        db.execute(ROWS, {k: v[k] for k in ("first_run", "at", "ok_outcome", "bad_outcome")})
    db.execute(STATE, {"models": models})
    for _, sql in indexes:
        db.execute(sql)
    db.execute("COMMIT")
    n = db.execute("SELECT count(*) FROM probe_results").fetchone()[0]
    db.execute("PRAGMA journal_mode=WAL").fetchall()
    db.close()
    say("filled:  %d rows of %d channels x %d models x %d runs, %.2f GiB, in %.0f s"
        % (n, len(ids), models, cycles, os.path.getsize(path) / 2**30, time.monotonic() - began))
    return n, ids
