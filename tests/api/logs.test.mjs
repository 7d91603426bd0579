// Rows of probes: scope, run, paging, filters, exports; over a history made in the database, so that every
// number is known (spec 1 section 1.4).
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import net from 'node:net';
import { join } from 'node:path';
import { rmSync } from 'node:fs';
import { startDaemon, tempDir, sql, until, procStatus, ADMIN_TOKEN, isSanitized } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const START = 1767225600000;
const RUNS = 30, MODELS = 20; // channel 1: 600 rows, one a second; model-3 fails; evil cells in model-5
let d, dir;

before(async () => {
  dir = tempDir();
  d = await startDaemon({ dataDir: dir });
  for (const name of ['history', 'empty', 'big'])
    await d.api('POST', '/api/targets', { name, base_url: 'https://relay.example', api_key: 'k', enabled: false });
  await d.stop();
  sql(join(dir, 'gatehouse.db'),
    `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${RUNS - 1})
     INSERT INTO runs (id, channel_id, started_utc_ms, finished_utc_ms, status, total, success, fail, log_file)
     SELECT i + 1, 1, ${START} + i * 60000, ${START} + i * 60000 + 20000, 'completed', ${MODELS}, ${MODELS} - 1, 1, '/data/logs/target_1_' || i || '.jsonl' FROM n`,
    `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${RUNS * MODELS - 1})
     INSERT INTO probe_results (id, item_kind, item_id, run_id, at_utc_ms, model, protocol, route, endpoint, outcome, status, success,
       transport_success, duration_us, ttfb_us, http_status, tool_calls, content, error)
     SELECT i + 1, 0, 1, i / ${MODELS} + 1, ${START} + i / ${MODELS} * 60000 + i % ${MODELS} * 1000, 'model-' || (i % ${MODELS}),
       CASE i % 3 WHEN 0 THEN 'openai' WHEN 1 THEN 'anthropic' ELSE 'gemini' END, 'chat', 'chat',
       CASE WHEN i % ${MODELS} = 3 THEN 7 ELSE 0 END, 1, i % ${MODELS} <> 3, 1, 812000, NULL, CASE WHEN i % ${MODELS} = 3 THEN 500 ELSE 200 END,
       CASE WHEN i % ${MODELS} = 4 THEN '[{"a":"<b>"}]' WHEN i % ${MODELS} = 5 THEN 'no json' ELSE NULL END,
       CASE WHEN i % ${MODELS} = 5 THEN '=HYPERLINK("x")' WHEN i % ${MODELS} = 3 THEN NULL ELSE 'Needle, ' || i END,
       CASE WHEN i % ${MODELS} = 3 THEN 'HTTP 500: boom' ELSE NULL END FROM n`,
    `INSERT INTO runs (id, channel_id, started_utc_ms, finished_utc_ms, status, total, success) VALUES (1000, 3, ${START}, ${START} + 1, 'completed', 30000, 30000)`,
    `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 29999)
     INSERT INTO probe_results (item_kind, item_id, run_id, at_utc_ms, model, outcome, status, success, transport_success, content)
     SELECT 0, 3, 1000, ${START} + i, 'm', 0, 1, 1, 1, hex(randomblob(100)) FROM n`);
  d = await startDaemon({ dataDir: dir });
});
after(async () => { await d?.stop(); if (dir) rmSync(dir, { recursive: true, force: true }); });

const logs = (query = '', id = 1) => d.api('GET', `/api/targets/${id}/logs?history=0&${query}`);
const fails = async (query, status, detail) => {
  const r = await d.request('GET', `/api/targets/1/logs?${query}`, undefined, admin);
  assert.deepEqual([r.status, r.json.detail], [status, detail], query);
};

describe('pages', () => {
  test('the newest run by itself, ascending, in the shape of system 1', async () => {
    const r = await logs();
    assert.equal(r.run.id, RUNS);
    assert.equal(r.run.log_file, `/data/logs/target_1_${RUNS - 1}.jsonl`);
    assert.equal(r.count, MODELS);
    assert.equal(r.items.length, MODELS);
    assert.equal(r.next_before_id, null);
    const at = r.items.map((i) => i.timestamp);
    assert.deepEqual(at, at.toSorted((a, b) => a - b));
    const row = r.items[0];
    for (const [key, value] of Object.entries({
      id: RUNS * MODELS - MODELS + 1, run_id: RUNS, target_id: 1, protocol: 'anthropic', model: 'model-0', stream: false, duration: 0.812, success: true,
      transport_success: true, tool_calls_count: 0, tool_calls: [], error: null, status_code: 200, route: 'chat', endpoint: 'chat', outcome: 'ok', ttfb: null,
    })) assert.deepEqual(row[key], value, key);
    assert.deepEqual(r.items[4].tool_calls, [{ a: '<b>' }]);
    assert.deepEqual(r.items[5].tool_calls, []);
  });

  test('texts that could end a script element are escaped', async () => {
    const r = await d.request('GET', '/api/targets/1/logs?history=0', undefined, admin);
    assert.ok(!r.text.includes('<'));
  });

  test('a run by its id, whatever the scope; scope all has no run', async () => {
    const r = await logs('run_id=3&scope=all');
    assert.equal(r.run.id, 3);
    assert.ok(r.items.every((i) => i.run_id === 3));
    const all = await logs('scope=all');
    assert.equal(all.run, null);
    assert.equal(all.count, RUNS * MODELS);
  });

  test('limit keeps the newest; before_id walks to the beginning without gap or double', async () => {
    const first = await logs('scope=all&limit=7');
    assert.deepEqual(first.items.map((i) => i.id), [594, 595, 596, 597, 598, 599, 600]);
    const seen = [];
    for (let before = ''; ;) {
      const r = await logs(`scope=all&limit=77${before}`);
      seen.unshift(...r.items.map((i) => i.id));
      if (!r.next_before_id) break;
      before = `&before_id=${r.next_before_id}`;
    }
    assert.deepEqual(seen, Array.from({ length: RUNS * MODELS }, (_, i) => i + 1));
    assert.equal((await logs('scope=all&limit=0')).count, 1); // clamped
    assert.equal((await logs('scope=all&limit=x')).count, RUNS * MODELS); // default
    assert.equal((await logs('scope=all&before_id=999999')).count, 0);
  });

  test('filters', async () => {
    assert.equal((await logs('scope=all&status=failed')).count, RUNS);
    assert.equal((await logs('scope=all&status=success')).count, RUNS * MODELS - RUNS);
    assert.equal((await logs('scope=all&protocol=gemini')).count, RUNS * MODELS / 3);
    assert.equal((await logs('scope=all&model=model-7')).count, RUNS);
    assert.equal((await logs('scope=all&q=BOOM')).count, RUNS);
    assert.equal((await logs('scope=all&q=needle,%20599')).count, 1);
    assert.equal((await logs('scope=all&q=model-19&limit=2')).items.every((i) => i.model === 'model-19'), true);
    const since = (START + 60000) / 1000, to = (START + 120000) / 1000;
    assert.deepEqual([...new Set((await logs(`scope=all&since=${since}&until=${to}`)).items.map((i) => i.run_id))], [2]);
    assert.equal((await logs('scope=all&q=%25')).count, 0); // no wildcards
  });

  test('refuses in the order of checks', async () => {
    await fails('scope=bad&run_id=1', 400, 'invalid scope');
    await fails('run_id=x', 400, 'invalid run_id');
    await fails('run_id=0', 400, 'invalid run_id');
    await fails('run_id=1000', 404, 'run not found');
    await fails('status=odd', 400, 'invalid status: all, success, failed');
    await fails('protocol=odd', 400, 'invalid protocol: openai, anthropic, gemini');
    await fails('since=yesterday', 400, 'invalid since: seconds since 1970');
    await fails('until=-1', 400, 'invalid until: seconds since 1970');
  });

  test('a channel that never ran has no run and no rows', async () => {
    const r = await logs('', 2);
    assert.deepEqual([r.run, r.count, r.items, r.next_before_id], [null, 0, [], null]);
  });

  test('a search without a hit says where it stopped and comes to an end', async () => {
    let pages = 0, before = '';
    for (;;) {
      const r = await logs(`scope=all&q=nowhere-at-all${before}`, 3);
      assert.equal(r.count, 0);
      pages++;
      if (!r.next_before_id) break;
      assert.equal(r.partial, true);
      before = `&before_id=${r.next_before_id}`;
    }
    assert.ok(pages >= 1 && pages < 300);
  });
});

describe('runs', () => {
  test('newest first, by pages', async () => {
    const r = await d.api('GET', '/api/targets/1/runs?limit=12');
    assert.deepEqual(r.items.map((i) => i.id), Array.from({ length: 12 }, (_, i) => RUNS - i));
    assert.deepEqual(Object.keys(r.items[0]).sort(), ['cause', 'error', 'fail', 'finished_at', 'id', 'log_file', 'started_at', 'status', 'success', 'target_id', 'total']);
    const next = await d.api('GET', `/api/targets/1/runs?limit=200&before_id=${r.next_before_id}`);
    assert.deepEqual(next.items.map((i) => i.id), Array.from({ length: RUNS - 12 }, (_, i) => RUNS - 12 - i));
    assert.equal(next.next_before_id, null);
    assert.equal((await d.api('GET', '/api/targets/1/runs')).items.length, 20);
    assert.equal((await d.request('GET', '/api/targets/1/runs?before_id=1000', undefined, admin)).status, 404);
  });
});

// Fields of a CSV text after RFC 4180.
function csv(text) {
  const rows = [[]];
  for (let i = 0; i < text.length;) {
    let cell = '';
    if (text[i] === '"') {
      for (i++; text[i] !== '"' || text[i + 1] === '"'; i++) { if (text[i] === '"') i++; cell += text[i]; }
      i++;
    } else {
      while (i < text.length && text[i] !== ',' && text[i] !== '\r') cell += text[i++];
    }
    rows.at(-1).push(cell);
    if (text[i] === ',') i++;
    else { i += 2; if (i < text.length) rows.push([]); }
  }
  return rows;
}

describe('export', () => {
  const get = (query, id = 1) => d.request('GET', `/api/targets/${id}/logs/export?${query}`, undefined, admin);

  test('CSV: every row, oldest first, formulas disarmed', async () => {
    const r = await get('scope=all');
    assert.equal(r.headers.get('content-type'), 'text/csv; charset=utf-8');
    assert.match(r.headers.get('content-disposition'), /filename="target-1-logs\.csv"/);
    const rows = csv(r.text);
    assert.equal(rows.length, RUNS * MODELS + 1);
    const at = Object.fromEntries(rows[0].map((name, i) => [name, i]));
    assert.deepEqual(rows.slice(1).map((x) => Number(x[at.id])), Array.from({ length: RUNS * MODELS }, (_, i) => i + 1));
    assert.equal(rows[6][at.content], '\'=HYPERLINK("x")');
    assert.equal(rows[1][at.content], 'Needle, 0');
    assert.equal(rows[1][at.time], '2026-01-01T00:00:00.000Z');
    assert.deepEqual([rows[4][at.success], rows[4][at.error], rows[4][at.status_code], rows[4][at.ttfb]], ['false', 'HTTP 500: boom', '500', '']);
  });

  test('JSON and NDJSON hold what the page holds, filters too', async () => {
    const page = await logs('scope=all&status=failed');
    assert.deepEqual((await get('scope=all&status=failed&format=json')).json, page.items);
    const lines = (await get('scope=all&status=failed&format=ndjson')).text.trimEnd().split('\n').map((l) => JSON.parse(l));
    assert.deepEqual(lines, page.items);
    assert.deepEqual((await get('scope=all&q=nowhere-at-all&format=json')).json, []);
    assert.deepEqual((await get('format=json', 2)).json, []);
    const bad = await get('format=xml');
    assert.deepEqual([bad.status, bad.json.field], [400, 'format']);
    assert.equal((await get('run_id=1000')).status, 404);
  });

  test('many rows stream whole', async () => {
    const r = await get('scope=all&format=ndjson', 3);
    const lines = r.text.trimEnd().split('\n');
    assert.equal(lines.length, 30000);
    assert.equal(new Set(lines.map((l) => JSON.parse(l).id)).size, 30000);
  });

  test('a reader that stops costs no memory, one that leaves is forgotten', async () => {
    const before = procStatus(d.child.pid, 'VmRSS');
    const sockets = await Promise.all(Array.from({ length: 5 }, () => new Promise((resolve) => {
      const s = net.connect(d.port, '127.0.0.1', () => {
        s.write(`GET /api/targets/3/logs/export?scope=all&format=json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\n\r\n`);
        s.once('data', () => { s.pause(); resolve(s); });
      });
      s.on('error', () => {});
    })));
    assert.equal((await d.request('GET', '/api/health')).status, 200);
    if (!isSanitized) assert.ok(procStatus(d.child.pid, 'VmRSS') - before < 60 * 1024, 'no whole export is held');
    sockets.forEach((s) => s.destroy());
    await until(async () => (await d.request('GET', '/api/health')).status === 200, 'health');
    assert.equal((await get('run_id=1&format=json')).json.length, MODELS);
  });
});
