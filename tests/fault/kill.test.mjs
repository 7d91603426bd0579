// kill -9 while probes run, round after round: what was told to clients is there, nothing is twice, sums
// are what their details say, and no run is left `running`.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, startSim, openEvents, sql, tempDir, until, track, binary, ADMIN_TOKEN, isSanitized } from '../harness.mjs';

const ROUNDS = Number(process.env.GATEHOUSE_KILL_ROUNDS ?? (isSanitized ? 6 : 20));
const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const dataDir = tempDir();
const file = join(dataDir, 'gatehouse.db');
let sim;
before(async () => { sim = await startSim(['--models', '12', '--rule', 'model=*;delay_ms=5']); });
after(async () => {
  await sim?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

// Sums of a table of roll-ups against the rows they were made of.
const SUMS = 'count(*), sum(t_input), sum(t_output), sum(cost_nano_usd), sum(is_stream)';
const ROLLED = 'coalesce(sum(n), 0), sum(t_input), sum(t_output), sum(cost_nano_usd), sum(n_stream)';
function checkDatabase(acknowledged) {
  const [integrity, foreign, [details], [minute], [quarter], [day], twice, lost, probes, ids, classes] = sql(file, 'PRAGMA integrity_check', 'PRAGMA foreign_key_check', `SELECT ${SUMS} FROM call_events`, `SELECT ${ROLLED} FROM rollup_minute`, `SELECT ${ROLLED} FROM rollup_quarter`, `SELECT ${ROLLED} FROM rollup_day`,
    'SELECT hex(id), count(*) FROM call_events GROUP BY id HAVING count(*) > 1',
    'SELECT run_id, model, count(*) FROM probe_results GROUP BY run_id, model HAVING count(*) > 1', 'SELECT run_id, model FROM probe_results',
    'SELECT count(*) FROM call_events WHERE origin = 1',
    'SELECT sum(n), sum(n_ok + n_degraded + n_upstream + n_rate_limit + n_quota + n_auth + n_client + n_cancelled + n_timeout + n_network + n_tls + n_dns) FROM rollup_minute');
  assert.deepEqual(integrity, [['ok']]);
  assert.deepEqual(foreign, []);
  assert.deepEqual(minute, details, 'minutes');
  assert.deepEqual(quarter, details, 'quarters');
  assert.deepEqual(day, details, 'days');
  assert.deepEqual(twice, []);
  assert.deepEqual(lost, []);
  assert.equal(classes[0][0], classes[0][1], 'classes add up');
  assert.equal(ids[0][0], probes.length, 'one call a probe');
  const there = new Set(probes.map(([r, m]) => `${r} ${m}`));
  for (const a of acknowledged) assert.ok(there.has(a), `${a} was told to a client and is gone`);
  return probes.length;
}

test(`${ROUNDS} rounds`, async (t) => {
  const acknowledged = new Set();
  let d = await startDaemon({ dataDir, env: { MONITOR_MAX_PARALLEL_TARGETS: '8' } });
  for (let i = 0; i < 6; i++) await d.api('POST', '/api/targets', { name: `c${i}`, base_url: `${sim.url}/v1`, api_key: 'sk-x', enabled: i < 3, interval_min: 1440 });
  let ready = 0, total = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const { items } = await d.api('GET', '/api/targets?history=0');
    assert.equal(items.length, 6);
    const stream = await openEvents(d.url, '/api/events', admin);
    await stream.waitFor('connected');
    await Promise.all(items.map((i) => d.request('POST', `/api/targets/${i.id}/run`, undefined, admin)));
    // at another place in the work each time
    const wanted = 1 + ((round * 17) % 60);
    await until(() => stream.events.filter((e) => e.event === 'model_result' || e.event === 'run_completed').length >= wanted, 'results', 30000);
    const told = stream.events.length;
    await d.kill();
    for (const e of stream.events.slice(0, told)) {
      if (e.event !== 'model_result') continue;
      const v = JSON.parse(e.data);
      acknowledged.add(`${v.run_id} ${v.model}`);
    }
    await stream.close();
    const began = performance.now();
    d = await startDaemon({ dataDir, env: { MONITOR_MAX_PARALLEL_TARGETS: '8' } });
    ready = Math.max(ready, performance.now() - began);
    // runs of the dead process are closed; those that run now are of this one
    await until(async () => (await d.api('GET', '/api/health')).running_targets.length === 0, 'a quiet start', 30000);
    const [open] = sql(file, "SELECT count(*) FROM runs WHERE status = 'running'");
    assert.deepEqual(open, [[0]], `round ${round}`);
    for (const i of (await d.api('GET', '/api/targets')).items) if (i.last_status) assert.ok(i.latest_models.length > 0, 'the last results are shown');
    total = checkDatabase(acknowledged);
  }
  assert.deepEqual(await d.stop(), { code: 0, signal: null });
  checkDatabase(acknowledged);
  assert.ok(acknowledged.size > ROUNDS, `${acknowledged.size}`);
  const slowest = isSanitized ? 10000 : 3000;
  assert.ok(ready < slowest, `${ready} ms to be ready`);
  t.diagnostic(`${total} rows, ${acknowledged.size} told, slowest start ${Math.round(ready)} ms`);
});

test('kill -9 while channels, keys and settings change: what was answered 200 is there', async () => {
  const own = tempDir();
  const answered = { channels: [], keys: [], size: 0 };
  for (let round = 0; round < Math.ceil(ROUNDS / 2); round++) {
    const d = await startDaemon({ dataDir: own });
    if (round > 0) {
      const names = (await d.api('GET', '/api/targets?history=0')).items.map((i) => i.name);
      for (const n of answered.channels) assert.ok(names.includes(n), n);
      const keys = (await d.api('GET', '/api/proxy/keys')).items.map((k) => k.id);
      for (const k of answered.keys) assert.ok(keys.includes(k), `${k}`);
      assert.ok((await d.api('GET', '/api/admin/settings')).item.log_max_size_mb >= answered.size);
    }
    let dead = false, n = 0;
    const write = async (method, path, body, done) => {
      while (!dead) {
        try {
          const r = await d.request(method, path, body(), admin);
          if (r.status === 200) { done(r.json); n++; } else assert.fail(`${r.status} ${r.text}`);
        } catch (e) {
          if (!dead) throw e;
        }
      }
    };
    let serial = 0;
    const work = Promise.all([
      write('POST', '/api/targets', () => ({ name: `r${round}-${serial++}`, base_url: 'http://127.0.0.1:59999/v1', api_key: 'sk-x', enabled: false }), (j) => answered.channels.push(j.item.name)),
      write('POST', '/api/proxy/keys', () => ({ name: 'k' }), (j) => answered.keys.push(j.item.id)),
      write('PATCH', '/api/admin/settings', () => ({ log_max_size_mb: answered.size + 1 }), (j) => (answered.size = Math.max(answered.size, j.item.log_max_size_mb))),
    ]);
    await until(() => n > 10 + round * 3, 'some changes');
    dead = true;
    await d.kill();
    await work;
  }
  assert.deepEqual(sql(join(own, 'gatehouse.db'), 'PRAGMA integrity_check')[0], [['ok']]);
  rmSync(own, { recursive: true, force: true });
});

test('kill -9 in the middle of the first start: the next one succeeds', async () => {
  for (let i = 0; i < 12; i++) {
    const own = tempDir();
    const child = track(spawn(binary, ['serve', '--listen=127.0.0.1:0'], { env: { PATH: process.env.PATH, DATA_DIR: own }, stdio: 'ignore' }));
    const gone = new Promise((r) => child.once('exit', r));
    while (readdirSync(own).length <= i % 6 && child.exitCode === null) await new Promise((r) => setImmediate(r)); // a later file each time
    child.kill('SIGKILL');
    await gone;
    const d = await startDaemon({ dataDir: own });
    assert.equal((await d.request('GET', '/api/health')).status, 200);
    await d.stop();
    assert.deepEqual(sql(join(own, 'gatehouse.db'), 'PRAGMA integrity_check')[0], [['ok']]);
    rmSync(own, { recursive: true, force: true });
  }
});
