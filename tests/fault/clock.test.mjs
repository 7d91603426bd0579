// The wall clock steps: timers, blocks and streams do not notice, schedules do not burst, sessions are not
// made longer. By libfaketime, which the daemon is started with; its monotonic clock is the real one.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, startSim, login, openEvents, sql, tempDir, until, ADMIN_TOKEN, isSanitized } from '../harness.mjs';

const library = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1'].find(existsSync);
// A sanitizer's run time has to be the first library of a process, and so has libfaketime.
const reason = isSanitized ? 'not with a sanitizer' : library ? false : 'libfaketime is not installed';
const dir = tempDir();
const clock = join(dir, 'clock');
const step = (text) => {
  writeFileSync(`${clock}.new`, `${text}\n`);
  renameSync(`${clock}.new`, clock);
};
const dataDir = join(dir, 'data');
const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const env = { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1', GATEHOUSE_SSE_HEARTBEAT: '200ms' };
let d, sim;
before(async () => {
  if (reason) return;
  step('+0');
  sim = await startSim(['--model', 'm1', '--model', 'm2']);
  d = await startDaemon({ dataDir, env });
});
after(async () => {
  await d?.stop();
  await sim?.stop();
  rmSync(dir, { recursive: true, force: true });
});
const seen = async () => new Date((await d.request('GET', '/health')).headers.get('date')).getTime();
const stepTo = async (text, ms) => {
  step(text);
  await until(async () => Math.abs((await seen()) - (Date.now() + ms)) < 5000, `the clock at ${text}`);
};
const HOUR = 3600e3;

test('the clock can be moved', { skip: reason }, async () => {
  await stepTo('+3h', 3 * HOUR);
  await stepTo('-2h', -2 * HOUR);
  await stepTo('+0', 0);
});

test('steps neither cut nor hasten a live stream, a run or an answer', { skip: reason }, async () => {
  const { item } = await d.api('POST', '/api/targets', { name: 'stepped', base_url: `${sim.url}/v1`, api_key: 'sk-x', interval_min: 60 });
  const runs = async () => (await d.api('GET', `/api/targets/${item.id}/runs?limit=200`)).items;
  const quiet = () => until(async () => { const i = (await d.api('GET', `/api/targets/${item.id}`)).item; return !i.running && i.last_status === 'healthy'; }, 'no run under way');
  await d.api('POST', `/api/targets/${item.id}/run`).catch(() => {}); // it may run by itself already
  await quiet();
  const stream = await openEvents(d.url, '/api/events', admin);
  await stream.waitFor('connected');
  for (const [text, ms] of [['+1h', HOUR], ['-1h', -HOUR], ['+24h', 24 * HOUR], ['-24h', -24 * HOUR], ['+8000d', 8000 * 24 * HOUR], ['-20000d', -20000 * 24 * HOUR], ['+0', 0]]) {
    const before = (await runs()).length;
    await stepTo(text, ms);
    const beats = stream.text.split(': heartbeat').length;
    await until(() => stream.text.split(': heartbeat').length >= beats + 3, 'heartbeats', 5000);
    assert.ok(stream.text.split(': heartbeat').length < beats + 40, 'no burst of heartbeats');
    assert.equal((await d.api('GET', '/api/health')).ok, true);
    await quiet();
    assert.ok((await runs()).length <= before + 1, `a burst of runs at ${text}`);
    const answer = await d.request('POST', `/api/targets/${item.id}/run`, undefined, admin);
    assert.ok([200, 409].includes(answer.status), text);
    await quiet();
  }
  assert.ok(!stream.closed);
  await stream.close();
  assert.ok((await runs()).every((r) => r.status === 'completed'));
});

test('a block for guessing lasts as long as it should', { skip: reason }, async () => {
  for (let i = 0; i < 8; i++) await d.request('POST', '/api/admin/login', { password: 'wrong' });
  for (const [text, ms] of [['+2h', 2 * HOUR], ['-2h', -2 * HOUR], ['+0', 0]]) {
    await stepTo(text, ms);
    const r = await d.request('POST', '/api/admin/login', { password: 'wrong' });
    assert.equal(r.status, 429);
    const wait = Number(r.headers.get('retry-after'));
    assert.ok(wait > 1700 && wait <= 1800, `${wait}`);
  }
});

test('a session ends by the wall clock, and setting it back makes it no longer', { skip: reason }, async () => {
  const own = await startDaemon({ env });
  const cookie = await login(own);
  const open = async () => (await own.request('GET', '/api/admin/settings', undefined, { cookie })).status === 200;
  const at = async (text, ms) => {
    step(text);
    await until(async () => Math.abs(new Date((await own.request('GET', '/health')).headers.get('date')).getTime() - (Date.now() + ms)) < 5000, text);
  };
  await at('-3h', -3 * HOUR);
  assert.ok(await open());
  await at('+11h', 11 * HOUR);
  assert.ok(await open(), '11 h idle');
  await at('+24h', 24 * HOUR);
  assert.ok(!(await open()), '13 h idle');
  await at('+0', 0);
  await own.stop();
});

test('the ledger stays in order and whole', { skip: reason }, async () => {
  await d.stop();
  const file = join(dataDir, 'gatehouse.db');
  const [check, twice, [[n, sum]], running] = sql(file, 'PRAGMA integrity_check', 'SELECT count(*) FROM call_events GROUP BY id HAVING count(*) > 1', 'SELECT (SELECT count(*) FROM call_events), (SELECT sum(n) FROM rollup_minute)', "SELECT count(*) FROM runs WHERE status = 'running'");
  assert.deepEqual([check, twice, running], [[['ok']], [], [[0]]]);
  assert.ok(n > 10);
  assert.equal(n, sum);
  d = null;
});
