// When channels run: places by schedule and by hand, the queue, what a restart finds, what changes and ends do to
// a run under way (spec 1 sections 3.1, 3.3, 3.7; rulings 10 and 18). An upstream that hangs keeps every state in view.
import { test, before, beforeEach, after } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, startSim, openEvents, sql, tempDir, until } from '../harness.mjs';
import { admin, asked, create, finished, item, lines, rows, run, runs } from './channels.mjs';

const HANG = { model: '*', fault: 'hang-head' };
const dirs = [];
const daemons = [];
let sim;

before(async () => { sim = await startSim(); });
beforeEach(() => sim.reset());
after(async () => {
  await Promise.all(daemons.map((d) => d.kill()));
  await sim?.stop();
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

const newDir = () => { dirs.push(tempDir()); return dirs.at(-1); };
async function start(dataDir, env) {
  const d = await startDaemon({ dataDir, env });
  daemons.push(d);
  return d;
}
// A data directory with channels in it that an earlier daemon left.
async function prepared(count, extra) {
  const dataDir = newDir(), d = await start(dataDir), made = [];
  for (let i = 0; i < count; i++) made.push(await create(d, sim.url, { enabled: true, timeout_s: 60, ...extra?.(i) }));
  await d.stop();
  return { dataDir, made };
}
const models = (...names) => fetch(`${sim.url}/_sim/models`, { method: 'POST', body: JSON.stringify({ models: names }) });
const release = () => fetch(`${sim.url}/_sim/release`, { method: 'POST' });
const inFlight = (n) => until(async () => (await sim.stats()).in_flight === n, `${n} requests in flight`);
const probes = async () => (await asked(sim)).filter((r) => r.route !== 'models');
const start_run = (d, t) => d.api('POST', `/api/targets/${t.id}/run`);
// Lets what hangs go on until nothing is left.
async function drain(done) {
  await until(async () => { await release(); return done(); }, 'all to end');
}

test('by schedule two channels at once, the others wait in the queue, oldest first', async () => {
  await models('m');
  await sim.behave(HANG);
  const { dataDir, made } = await prepared(6);
  const d = await start(dataDir, { MONITOR_MAX_PARALLEL_TARGETS: '2', MONITOR_DETECT_CONCURRENCY: '1' });
  await inFlight(2);
  const board = await d.api('GET', '/api/dashboard');
  assert.deepEqual([board.running_targets, board.queued_targets], [2, 4]);
  assert.deepEqual((await d.request('GET', '/api/health')).json.running_targets, made.slice(0, 2).map((t) => t.id));
  const { items } = await d.api('GET', '/api/targets');
  assert.deepEqual(items.map((t) => [t.running, t.queued]), [...Array(2).fill([true, false]), ...Array(4).fill([true, true])]);
  await drain(async () => (await d.api('GET', '/api/dashboard')).never_run === 0);
  assert.equal((await sim.stats()).max_in_flight, 2);
  for (const t of made) assert.deepEqual((await runs(d, t.id)).map((r) => [r.status, r.cause]), [['completed', 'schedule']]);
  const order = made.map(async (t) => (await runs(d, t.id))[0].started_at);
  assert.deepEqual(await Promise.all(order), (await Promise.all(order)).toSorted((a, b) => a - b));
  await d.stop();
});

test('a run has at most detect_concurrency probes under way, and keeps as many', async () => {
  await models(...Array.from({ length: 10 }, (_, i) => `m${i}`));
  await sim.behave(HANG);
  const d = await start(newDir());
  const t = await create(d, sim.url, { timeout_s: 60 });
  await start_run(d, t);
  await inFlight(3);
  assert.equal((await probes()).length, 3);
  await release();
  await until(async () => (await probes()).length === 6, 'the next three');
  await inFlight(3);
  const { progress } = await until(async () => { const i = await item(d, t.id); return i.progress?.done === 3 && i; }, 'three done');
  assert.deepEqual([progress.done, progress.total], [3, 10]);
  await drain(async () => !(await item(d, t.id)).running);
  assert.equal((await sim.stats()).max_in_flight, 3);
  assert.deepEqual((await probes()).map((r) => r.model), Array.from({ length: 10 }, (_, i) => `m${i}`), 'in the order of the list');
  await d.stop();
});

test('runs by hand beyond manual_parallel answer 200, wait, and are shown so', async () => {
  await models('m');
  await sim.behave(HANG);
  const d = await start(newDir(), { GATEHOUSE_MANUAL_PARALLEL: '2', MONITOR_MAX_PARALLEL_TARGETS: '1' });
  const made = [];
  for (let i = 0; i < 5; i++) made.push(await create(d, sim.url, { timeout_s: 60 }));
  const answers = [];
  for (const t of made) answers.push(await start_run(d, t));
  assert.deepEqual(answers.map((a) => [a.ok, a.message, a.queued]), made.map((_, i) => [true, 'target started', i >= 2]));
  assert.equal(new Set(answers.map((a) => a.run_id)).size, 5);
  await inFlight(2);
  const board = await d.api('GET', '/api/dashboard');
  assert.deepEqual([board.running_targets, board.queued_targets], [2, 3]);
  for (const [i, t] of made.entries()) {
    const now = await item(d, t.id);
    assert.deepEqual([now.running, now.queued], [true, i >= 2]);
  }
  assert.equal((await d.request('POST', `/api/targets/${made[0].id}/run`, undefined, admin)).status, 409);
  await d.api('POST', `/api/targets/${made[4].id}/cancel`); // one that waits leaves without a trace
  assert.equal((await item(d, made[4].id)).running, false);
  await drain(async () => (await d.api('GET', '/api/dashboard')).never_run === 1);
  assert.equal((await sim.stats()).max_in_flight, 2);
  for (const [i, t] of made.slice(0, 4).entries()) {
    const [r] = await runs(d, t.id);
    assert.deepEqual([r.id, r.status, r.cause], [answers[i].run_id, 'completed', 'manual']);
  }
  assert.deepEqual(await runs(d, made[4].id), []);
  await d.stop();
});

test('a run by hand needs no place of the schedule', async () => {
  await models('m');
  await sim.behave(HANG);
  const { dataDir, made } = await prepared(2);
  const d = await start(dataDir, { MONITOR_MAX_PARALLEL_TARGETS: '1' });
  await inFlight(1);
  assert.equal((await item(d, made[1].id)).queued, true);
  assert.equal((await start_run(d, made[1])).queued, false);
  await inFlight(2);
  await drain(async () => (await d.api('GET', '/api/dashboard')).never_run === 0);
  assert.deepEqual((await runs(d, made[1].id)).map((r) => r.cause), ['manual'], 'one run, not two');
  await d.stop();
});

test('after a restart what is overdue runs once, the rest not at all', async () => {
  await models('m');
  const { dataDir, made } = await prepared(4, (i) => ({ enabled: false, interval_min: i === 3 ? 1 : 10 }));
  let d = await start(dataDir);
  for (const t of made) await run(d, t.id);
  for (const t of made) await d.api('PATCH', `/api/targets/${t.id}`, { enabled: true });
  await d.stop();
  const ago = (id, minutes) => `UPDATE channel_state SET last_run_utc_ms = last_run_utc_ms - ${minutes * 60000} WHERE channel_id = ${id}`;
  sql(join(dataDir, 'gatehouse.db'), ago(made[0].id, 11), ago(made[1].id, 500), ago(made[2].id, 5), ago(made[3].id, -600));
  await sim.reset();
  d = await start(dataDir);
  await until(async () => (await runs(d, made[0].id)).length === 2 && (await runs(d, made[1].id)).length === 2, 'the overdue ones');
  await Promise.all(made.map((t) => finished(d, t.id)));
  await run(d, made[2].id); // whatever the schedule wanted at once has begun by now
  assert.deepEqual(await Promise.all(made.map(async (t) => (await runs(d, t.id)).length)), [2, 2, 2, 1]);
  assert.deepEqual((await runs(d, made[2].id)).map((r) => r.cause), ['manual', 'manual']);
  for (const t of made.slice(0, 2)) {
    const now = await item(d, t.id);
    assert.ok(now.next_run_at > Date.now() / 1000 + 500, 'missed slots are not made up for');
  }
  await d.stop();
});

test('a run that kill -9 interrupted is an error, what it found stays, and the channel is due', async () => {
  await models('m1', 'm2');
  const dataDir = newDir();
  let d = await start(dataDir, { MONITOR_DETECT_CONCURRENCY: '1' });
  const t = await create(d, sim.url, { enabled: true, interval_min: 1440, timeout_s: 60 });
  const good = await run(d, t.id);
  await sim.behave({ model: 'm2', fault: 'hang-head' });
  const { run_id } = await start_run(d, t);
  await inFlight(1);
  await until(async () => (await rows(d, t.id, 'scope=all')).some((r) => r.run_id === run_id), 'the row of m1');
  assert.equal((await runs(d, t.id))[0].status, 'running');
  await d.kill();
  await until(async () => (await sim.stats()).in_flight === 0, 'the upstream to notice');
  await sim.reset();
  await models('m1', 'm2');
  d = await start(dataDir);
  const events = await openEvents(d.url, '/api/events?last_event_id=0', admin);
  const now = await finished(d, t.id, run_id + 1);
  const all = await runs(d, t.id);
  assert.deepEqual(all.map((r) => [r.status, r.total, r.success, r.error, r.cause]), [
    ['completed', 2, 2, null, 'schedule'], ['error', 1, 1, 'interrupted', 'manual'], ['completed', 2, 2, null, 'manual']]);
  assert.equal(all[1].id, run_id);
  assert.ok(all[1].finished_at >= all[1].started_at);
  assert.deepEqual([now.last_status, good.last_status], ['healthy', 'healthy']);
  assert.equal((await rows(d, t.id, `run_id=${run_id}`)).length, 1);
  const told = JSON.parse((await events.waitFor('run_completed', (e) => JSON.parse(e.data).run_id === run_id)).data);
  assert.deepEqual([told.status, told.error, told.total], ['error', 'interrupted', 1]);
  await events.close();
  await d.stop();
});

test('the models of the last whole run are shown while its successor was interrupted', async () => {
  await models('m1', 'm2');
  const dataDir = newDir();
  let d = await start(dataDir);
  const t = await create(d, sim.url, { timeout_s: 60 });
  await run(d, t.id);
  await sim.behave({ route: 'models', fault: 'hang-head' });
  const { run_id } = await start_run(d, t);
  await inFlight(1);
  await until(async () => (await runs(d, t.id))[0].status === 'running', 'its row');
  await d.kill();
  d = await start(dataDir);
  await until(async () => (await runs(d, t.id))[0].status === 'error', 'the end of the interrupted run');
  const now = await item(d, t.id);
  assert.equal((await runs(d, t.id))[0].id, run_id);
  assert.deepEqual([now.running, now.last_status, now.latest_models.map((m) => m.model)], [false, 'healthy', ['m1', 'm2']]);
  await d.stop();
});

test('disabled channels are left alone by the schedule and run when asked', async () => {
  await models('m');
  const { dataDir, made } = await prepared(3, (i) => ({ enabled: i === 2 }));
  await sim.reset();
  const d = await start(dataDir);
  await finished(d, made[2].id);
  assert.equal((await run(d, made[0].id)).last_status, 'healthy');
  assert.deepEqual((await runs(d, made[0].id)).map((r) => r.cause), ['manual']);
  const off = await item(d, made[1].id);
  assert.deepEqual([off.last_run_at, off.running, off.next_run_at], [null, false, null]);
  assert.deepEqual(await runs(d, made[1].id), []);
  assert.equal((await asked(sim)).filter((r) => r.route === 'models').length, 2);
  // Switched on, one that never ran is due.
  await d.api('PATCH', `/api/targets/${made[1].id}`, { enabled: true });
  await finished(d, made[1].id);
  assert.deepEqual((await runs(d, made[1].id)).map((r) => r.cause), ['schedule']);
  await d.stop();
});

test('deleting a channel ends its probes; nothing of them is left', async () => {
  await models('m1', 'm2', 'm3', 'm4');
  await sim.behave(HANG);
  const d = await start(newDir());
  const t = await create(d, sim.url, { timeout_s: 60 }), other = await create(d, sim.url, { timeout_s: 60 });
  await start_run(d, t);
  await inFlight(3);
  await until(() => readdirSync(join(d.dataDir, 'logs')).length === 1, 'its file');
  assert.deepEqual(await d.api('DELETE', `/api/targets/${t.id}`), { ok: true });
  await until(async () => { const s = await sim.stats(); return s.cancelled === 3 && s.in_flight === 0; }, 'the upstream to see us leave');
  assert.deepEqual(readdirSync(join(d.dataDir, 'logs')), []);
  assert.deepEqual((await d.request('GET', '/api/health')).json.running_targets, []);
  await sim.behave({ model: '*' });
  await run(d, other.id); // the place is free, and all that was to be written has been
  assert.equal((await probes()).length, 7, 'm4 of the deleted one was never asked');
  await d.stop();
  const counts = sql(join(d.dataDir, 'gatehouse.db'), `SELECT count(*) FROM runs WHERE channel_id = ${t.id}`, `SELECT count(*) FROM probe_results WHERE item_id = ${t.id}`, `SELECT count(*) FROM channel_state WHERE channel_id = ${t.id}`);
  assert.deepEqual(counts, [[[0]], [[0]], [[0]]]);
});

test('a run that is cancelled ends as an error, the channel keeps what was known of it', async () => {
  await models('m1', 'm2');
  const d = await start(newDir());
  const t = await create(d, sim.url, { timeout_s: 60 });
  await run(d, t.id);
  await sim.behave({ model: 'm2', fault: 'hang-body' });
  const events = await openEvents(d.url, '/api/events', admin);
  const { run_id } = await start_run(d, t);
  await events.waitFor('model_result', (e) => JSON.parse(e.data).run_id === run_id);
  await inFlight(1);
  assert.deepEqual(await d.api('POST', `/api/targets/${t.id}/cancel`), { ok: true });
  const told = JSON.parse((await events.waitFor('run_completed', (e) => JSON.parse(e.data).run_id === run_id)).data);
  assert.deepEqual([told.status, told.error, told.total, told.success], ['error', 'cancelled', 1, 1]);
  await until(async () => (await sim.stats()).cancelled === 1, 'the upstream to see us leave');
  const [r] = await runs(d, t.id);
  assert.deepEqual([r.id, r.status, r.error, r.total], [run_id, 'error', 'cancelled', 1]);
  const now = await item(d, t.id);
  assert.deepEqual([now.running, now.last_status, now.last_total, now.latest_models.map((m) => m.model)], [false, 'healthy', 2, ['m1', 'm2']]);
  await events.close();
  await d.stop();
});

test('a change during a run is for the next one', async () => {
  await models('m1', 'm2', 'm3');
  await sim.behave(HANG);
  const d = await start(newDir(), { MONITOR_DETECT_CONCURRENCY: '1' });
  const t = await create(d, sim.url, { enabled: true, timeout_s: 60, prompt: 'the old question', name: 'old name' });
  const { run_id } = await start_run(d, t);
  await inFlight(1);
  await d.api('PATCH', `/api/targets/${t.id}`, { prompt: 'the new question', name: 'new name', api_key: 'sk-new', max_models: 1, base_url: 'http://127.0.0.1:59999/', enabled: false });
  assert.equal((await item(d, t.id)).running, true);
  await drain(async () => !(await item(d, t.id)).running);
  const now = await finished(d, t.id, run_id);
  assert.deepEqual([now.name, now.last_status, now.last_total, now.enabled], ['new name', 'healthy', 3, false]);
  assert.deepEqual((await probes()).map((r) => [r.model, r.body.messages[0].content]), ['m1', 'm2', 'm3'].map((m) => [m, 'the old question']));
  assert.deepEqual(lines(now.last_log_file).map((l) => l.target_name), Array(3).fill('old name'));
  await sim.reset();
  await d.api('PATCH', `/api/targets/${t.id}`, { base_url: `${sim.url}/v1` });
  await run(d, t.id);
  const [list, probe, ...more] = await asked(sim);
  assert.deepEqual([more.length, probe.body.messages[0].content, list.headers.authorization, probe.headers.authorization], [0, 'the new question', 'Bearer sk-new', 'Bearer sk-new']);
  await d.stop();
});

test('an end of the daemon during a run stores no probe it cut, and the next start ends the run', async () => {
  await models('m1', 'm2', 'm3');
  await sim.behave([{ model: 'm2', fault: 'hang-head' }, { model: 'm3', fault: 'hang-body' }]);
  const dataDir = newDir();
  let d = await start(dataDir);
  const t = await create(d, sim.url, { timeout_s: 60 });
  const { run_id } = await start_run(d, t);
  await until(async () => (await rows(d, t.id, 'scope=all')).some((r) => r.run_id === run_id), 'the row of m1');
  await inFlight(2);
  d.child.kill('SIGTERM');
  await until(() => /stopping cause=SIGTERM/.test(d.log), 'the drain');
  d.child.kill('SIGTERM'); // without the grace
  const end = await d.exited;
  assert.equal(end.signal, null, d.log.slice(-500));
  await until(async () => (await sim.stats()).in_flight === 0, 'the upstream to see us leave');
  const db = join(dataDir, 'gatehouse.db');
  assert.deepEqual(sql(db, 'SELECT model, success FROM probe_results'), [[['m1', 1]]]);
  d = await start(dataDir);
  await until(async () => (await runs(d, t.id))[0].status === 'error', 'the end of the run');
  const [r] = await runs(d, t.id);
  assert.deepEqual([r.id, r.error, r.total, r.success, r.fail], [run_id, 'interrupted', 1, 1, 0]);
  assert.deepEqual((await rows(d, t.id, `run_id=${run_id}`)).map((x) => x.model), ['m1']);
  assert.ok(existsSync(r.log_file));
  assert.deepEqual(lines(r.log_file).map((l) => l.model), ['m1']);
  await d.stop();
});
