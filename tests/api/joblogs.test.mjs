// Clean-up of the files of runs by their total size: oldest first, at start, after runs and when the setting changes,
// never a file of a run under way; what deleting a channel does to its files (spec 1 section 2.2).
import { test, before, beforeEach, after } from 'node:test';
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, startSim, tempDir, until } from '../harness.mjs';
import { create, finished, item, run } from './channels.mjs';

const KIB = 1024;
const dirs = [], daemons = [];
let sim;

before(async () => { sim = await startSim(['--model', 'm1', '--model', 'm2']); });
beforeEach(() => sim.reset());
after(async () => {
  await Promise.all(daemons.map((d) => d.kill()));
  await sim?.stop();
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

async function start(dataDir, env) {
  const d = await startDaemon({ dataDir, env });
  daemons.push(d);
  return d;
}
function newDir() {
  const dir = tempDir();
  dirs.push(dir);
  mkdirSync(join(dir, 'logs'));
  return dir;
}
// A file `hours` old of `kib`.
function old(dir, name, kib, hours) {
  const path = join(dir, 'logs', name);
  writeFileSync(path, 'x'.repeat(kib * KIB));
  const at = Date.now() / 1000 - hours * 3600;
  utimesSync(path, at, at);
}
const files = (dir) => readdirSync(join(dir, 'logs')).sort();
const name = (n) => `target_9_2026010${n}_000000.jsonl`;
const setting = (d, body) => d.api('PATCH', '/api/admin/settings', body);
const left = (dir, want) => until(() => JSON.stringify(files(dir)) === JSON.stringify(want), `${want} to be left of ${files(dir)}`);

test('at start: the oldest go until the rest fits; what is no log stays', async () => {
  const dir = newDir();
  // Names tell nothing: 3 is the oldest.
  old(dir, name(1), 400, 10);
  old(dir, name(2), 500, 20);
  old(dir, name(3), 300, 30);
  old(dir, name(4), 200, 1);
  old(dir, 'notes.txt', 3000, 90);
  mkdirSync(join(dir, 'logs', 'kept.jsonl'));
  old(dir, join('kept.jsonl', 'inner.jsonl'), 3000, 90);
  const d = await start(dir, { LOG_MAX_SIZE_MB: '1' });
  await left(dir, ['kept.jsonl', 'notes.txt', name(1), name(4)].sort());
  assert.deepEqual(readdirSync(join(dir, 'logs', 'kept.jsonl')), ['inner.jsonl']);
  await until(() => /logs cleaned up removed=2 removed_bytes=819200 left_bytes=614400/.test(d.log), 'a line of the log');
  await d.stop();
});

test('exactly the limit is no reason to delete', async () => {
  const dir = newDir();
  for (const n of [1, 2, 3, 4]) old(dir, name(n), 256, n);
  const d = await start(dir, { LOG_MAX_SIZE_MB: '1' });
  const t = await create(d, sim.url, { selected_models: ['none'] });
  assert.equal((await run(d, t.id)).last_status, 'no_models');
  assert.equal(files(dir).filter((f) => f.startsWith('target_9')).length, 4);
  await d.stop();
});

test('after a run: what it wrote counts', async () => {
  const dir = newDir();
  for (const n of [1, 2, 3]) old(dir, name(n), 256, n);
  old(dir, name(4), 255, 4);
  const d = await start(dir, { LOG_MAX_SIZE_MB: '1' });
  await sim.behave({ model: '*', status: 500, body: 'e'.repeat(600) });
  const t = await create(d, sim.url);
  const one = await run(d, t.id);
  assert.ok(statSync(one.last_log_file).size > KIB, 'what is left of the limit is 1 KiB');
  await until(() => !existsSync(join(dir, 'logs', name(4))), 'the oldest to go');
  assert.deepEqual(files(dir).filter((f) => f.startsWith('target_9')), [name(1), name(2), name(3)]);
  assert.ok(existsSync(one.last_log_file));
  await d.stop();
});

test('when the setting changes; switched off or without limit all stay', async () => {
  const dir = newDir();
  for (const n of [1, 2, 3, 4]) old(dir, name(n), 900, n);
  const all = files(dir);
  let d = await start(dir, { LOG_MAX_SIZE_MB: '1', LOG_CLEANUP_ENABLED: 'off' });
  const t = await create(d, sim.url, { selected_models: ['none'] });
  await run(d, t.id);
  await setting(d, { log_max_size_mb: 2 });
  await run(d, t.id);
  assert.deepEqual(files(dir).filter((f) => f.startsWith('target_9')), all);
  await setting(d, { log_cleanup_enabled: true, log_max_size_mb: 0 });
  await run(d, t.id);
  assert.deepEqual(files(dir).filter((f) => f.startsWith('target_9')), all);
  await setting(d, { log_max_size_mb: 3 });
  await until(() => !existsSync(join(dir, 'logs', name(4))), 'the oldest to go');
  assert.deepEqual(files(dir).filter((f) => f.startsWith('target_9')), [name(1), name(2), name(3)]);
  await setting(d, { log_max_size_mb: 1 });
  await until(() => !existsSync(join(dir, 'logs', name(2))), 'two more');
  assert.ok(existsSync(join(dir, 'logs', name(1))));
  // What the page says holds at the next start too.
  await setting(d, { log_cleanup_enabled: false });
  await d.stop();
  old(dir, name(5), 2000, 5);
  d = await start(dir, { LOG_MAX_SIZE_MB: '1', LOG_CLEANUP_ENABLED: 'off' });
  await run(d, t.id);
  assert.ok(existsSync(join(dir, 'logs', name(5))));
  await d.stop();
});

test('a file of a run under way is neither deleted nor counted', async () => {
  const dir = newDir();
  const d = await start(dir, { LOG_MAX_SIZE_MB: '500' });
  await sim.behave({ model: 'm2', fault: 'hang-head' });
  const t = await create(d, sim.url, { timeout_s: 60 });
  const { run_id } = await d.api('POST', `/api/targets/${t.id}/run`);
  await until(() => files(dir).length === 1 && statSync(join(dir, 'logs', files(dir)[0])).size > 0, 'the first line');
  const running = join(dir, 'logs', files(dir)[0]);
  appendFileSync(running, `${'y'.repeat(3 * KIB * KIB)}\n`);
  utimesSync(running, 1, 1); // the oldest and the largest of all
  old(dir, name(1), 600, 1);
  old(dir, name(2), 600, 2);
  await setting(d, { log_max_size_mb: 1 });
  await until(() => !existsSync(join(dir, 'logs', name(2))), 'the clean-up');
  assert.ok(existsSync(running));
  assert.ok(existsSync(join(dir, 'logs', name(1))));
  await fetch(`${sim.url}/_sim/release`, { method: 'POST' });
  await finished(d, t.id, run_id);
  assert.ok(statSync(running).size > 3 * KIB * KIB, 'the last line came behind it');
  utimesSync(running, 1, 1);
  await setting(d, { log_max_size_mb: 2 });
  await until(() => !existsSync(running), 'it to go like any other');
  assert.ok(existsSync(join(dir, 'logs', name(1))));
  // The rows in the database are another matter.
  assert.equal((await item(d, t.id)).latest_models.length, 2);
  assert.equal((await d.api('GET', `/api/targets/${t.id}/logs`)).count, 2);
  await d.stop();
});

test('a deleted channel takes its own files with it, with keep_logs it leaves them', async () => {
  const dir = newDir();
  const d = await start(dir);
  const [a, b] = [await create(d, sim.url), await create(d, sim.url)];
  for (const t of [a, b]) await run(d, t.id);
  const others = [`target_${a.id}0_20260101_000000.jsonl`, `target_${a.id}.jsonl`, `target_x${a.id}_1.jsonl`, `target_${a.id}_notes.txt`];
  for (const n of others) old(dir, n, 1, 1);
  old(dir, `target_${a.id}_20260101_000000_000.jsonl`, 1, 1); // of an old system
  const of = (id) => files(dir).filter((f) => new RegExp(`^target_${id}_\\d{8}_`).test(f));
  assert.equal(of(a.id).length, 2);
  await d.api('DELETE', `/api/targets/${a.id}`);
  assert.deepEqual(of(a.id), []);
  assert.deepEqual(others.filter((n) => files(dir).includes(n)), others);
  const kept = of(b.id);
  await d.api('DELETE', `/api/targets/${b.id}?keep_logs=1`);
  assert.equal(kept.length, 1);
  assert.deepEqual(of(b.id), kept);
  await d.stop();
});
