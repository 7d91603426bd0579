// A full disk: the daemon goes on answering, says what is wrong, loses nothing that it acknowledged, and is
// well again without a restart. It starts on a full disk, too.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, startSim, openEvents, sql, tempDir, until, parseMetrics, ADMIN_TOKEN } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const mounts = [];
after(() => {
  for (const at of mounts) {
    execFileSync('umount', ['-l', at]);
    rmSync(at, { recursive: true, force: true });
  }
});

// A small file system of one's own; null where that is not allowed.
function smallDisk(size) {
  const at = tempDir('gatehouse-disk');
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', at], { stdio: 'ignore' });
  } catch {
    rmSync(at, { recursive: true, force: true });
    return null;
  }
  mounts.push(at);
  const dataDir = join(at, 'data');
  mkdirSync(dataDir);
  return { at, dataDir };
}
function fill(disk) {
  const fd = openSync(join(disk.at, 'filler'), 'a');
  for (let size = 1 << 20; size >= 1; size >>= 1) {
    try {
      for (;;) if (writeSync(fd, Buffer.alloc(size)) === 0) break;
    } catch (e) {
      if (e.code !== 'ENOSPC') throw e;
    }
  }
  closeSync(fd);
}
const empty = (disk) => rmSync(join(disk.at, 'filler'));

test('while it runs: answers, says so, recovers, has lost nothing', async (t) => {
  const disk = smallDisk('12m');
  if (!disk) return t.skip('a tmpfs can be mounted by root alone');
  const sim = await startSim(['--models', '40']);
  const d = await startDaemon({ dataDir: disk.dataDir });
  const { item } = await d.api('POST', '/api/targets', { name: 'c', base_url: `${sim.url}/v1`, api_key: 'sk-x', enabled: false });
  const run = () => d.api('POST', `/api/targets/${item.id}/run`);
  const idle = () => until(async () => (await d.api('GET', '/api/health').catch(() => ({ running_targets: [0] }))).running_targets?.length === 0, 'the end of the run', 30000);
  await run();
  await idle();
  const stream = await openEvents(d.url, '/api/events', admin);
  await stream.waitFor('connected');

  fill(disk);
  // changes are refused, not lost quietly
  let refused = 0;
  await until(async () => {
    const r = await d.request('POST', '/api/proxy/keys', { name: 'x'.repeat(128), description: 'y'.repeat(512) }, admin);
    if (r.status >= 500) {
      refused++;
      assert.ok(r.json.detail && !/sqlite|\/tmp/i.test(r.json.detail), r.text);
    }
    return refused > 3;
  }, 'a refusal', 30000);
  // a small write may find a place now and then: health is that of the last one
  const health = await until(async () => {
    await d.request('POST', '/api/proxy/keys', { name: 'x'.repeat(128), description: 'y'.repeat(512) }, admin);
    const r = await d.request('GET', '/api/health');
    return r.json.store === 'error' && r;
  }, 'health to say so');
  assert.equal(health.status, 200, 'a full disk is no reason to restart it');
  const plain = await d.request('GET', '/health');
  assert.equal(plain.status, 200);
  assert.equal(plain.json.status, 'ok');
  // reading goes on, and so does the page
  assert.equal((await d.request('GET', `/api/targets/${item.id}/logs`, undefined, admin)).json.count, 40);
  assert.equal((await d.request('GET', '/')).status, 200);
  assert.equal((await d.request('POST', '/api/admin/login', { password: 'correct horse battery' })).status, 200);
  assert.match(d.log, /disk|space|full|No space/i);
  // probes go on; what cannot be kept is counted, not acknowledged
  const before = await d.api('GET', '/api/ledger');
  await d.request('POST', `/api/targets/${item.id}/run`, undefined, admin);
  await until(async () => (await sim.stats()).answered >= 82, 'probes on a full disk', 30000);
  await until(async () => (await d.request('GET', '/ready')).status === 503, 'not ready', 15000);

  empty(disk);
  const freed = performance.now();
  await until(async () => (await d.request('GET', '/api/health')).json.store === 'ok' && (await d.request('POST', '/api/proxy/keys', { name: 'after' }, admin)).status === 200, 'recovery', 15000);
  assert.ok(performance.now() - freed < 6000, `${performance.now() - freed} ms`);
  await until(async () => (await d.request('GET', '/ready')).status === 200, 'ready');
  await until(async () => { const l = await d.api('GET', '/api/ledger'); return l.seq_committed === l.seq_assigned && !l.spooling; }, 'the ledger to catch up');
  const now = await d.api('GET', '/api/ledger');
  await idle();
  await run();
  await until(() => stream.events.filter((e) => e.event === 'run_completed').length >= 1, 'a run that is told');
  await stream.close();
  assert.deepEqual(await d.stop(), { code: 0, signal: null });
  const [[[check]], [[rows]], [[sum]]] = sql(join(disk.dataDir, 'gatehouse.db'), 'PRAGMA integrity_check', 'SELECT count(*) FROM probe_results', 'SELECT sum(n) FROM rollup_minute');
  assert.equal(check, 'ok');
  assert.equal(rows, sum);
  // 40 before, 40 on the full disk, 40 after, less what is owned up to
  assert.ok(rows >= 120 - now.dropped_total, `${rows} rows, ${now.dropped_total} dropped`);
  assert.ok(before.seq_committed <= now.seq_committed);
  await sim.stop();
});

test('starts on a full disk, and is well once there is room', async (t) => {
  const disk = smallDisk('8m');
  if (!disk) return t.skip('a tmpfs can be mounted by root alone');
  let d = await startDaemon({ dataDir: disk.dataDir });
  await d.api('POST', '/api/targets', { name: 'kept', base_url: 'http://127.0.0.1:59999/v1', api_key: 'sk-x', enabled: false });
  await d.stop();
  fill(disk);
  d = await startDaemon({ dataDir: disk.dataDir });
  assert.deepEqual((await d.api('GET', '/api/targets')).items.map((i) => i.name), ['kept']);
  assert.equal((await d.request('GET', '/')).status, 200);
  empty(disk);
  await until(async () => (await d.request('POST', '/api/proxy/keys', { name: 'after' }, admin)).status === 200, 'a write', 15000);
  parseMetrics((await d.request('GET', '/metrics', undefined, admin)).text);
  await d.stop();
  assert.deepEqual(sql(join(disk.dataDir, 'gatehouse.db'), 'PRAGMA integrity_check')[0], [['ok']]);
});

test('a first start on a full disk says so and makes no half database', async (t) => {
  const disk = smallDisk('1m');
  if (!disk) return t.skip('a tmpfs can be mounted by root alone');
  fill(disk);
  await assert.rejects(startDaemon({ dataDir: disk.dataDir }), /ended early \(1\)[^]*cannot start: .*(space|full|locked|made)/i);
  empty(disk);
  const d = await startDaemon({ dataDir: disk.dataDir });
  assert.equal((await d.request('GET', '/api/health')).status, 200);
  await d.stop();
});
