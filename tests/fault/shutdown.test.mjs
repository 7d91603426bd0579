// Signals: the drain with its clock (ruling 18), the second TERM, reloads without leaks, those that must
// change nothing.
import { test, before, after, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, startSim, connect, openEvents, raw, answers, until, sql, tempDir, procStatus, cpuSeconds, ADMIN_TOKEN, isSanitized } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const get = (path) => `GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\n\r\n`;
const slowSanitizers = isSanitized ? 5 : 1;
let sim;
before(async () => { sim = await startSim(['--model', 'm1', '--model', 'm2', '--model', 'm3']); });
beforeEach(() => sim.reset());
after(() => sim?.stop());
const addChannel = (d, more) => d.api('POST', '/api/targets', { name: 'c', base_url: `${sim.url}/v1`, api_key: 'sk-x', enabled: false, timeout_s: 60, ...more }).then((r) => r.item.id);

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} of an idle daemon: exit 0 at once`, async () => {
    const d = await startDaemon();
    const began = performance.now();
    assert.deepEqual(await d.stop(signal), { code: 0, signal: null });
    assert.ok(performance.now() - began < 1000 * slowSanitizers);
    assert.match(d.log, new RegExp(`stopping cause=${signal}`));
    assert.match(d.log, /stopped after_ms=/);
  });
}

test('SIGTERM: no new connections, idle ones end, the request under way is answered, then exit 0', async () => {
  const d = await startDaemon();
  const idle = connect(d.port);
  idle.send(get('/health'));
  await idle.until(/"database"/);
  const busy = connect(d.port);
  const body = '{"password":"wrong"}';
  busy.send(`POST /api/admin/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`);
  await busy.opened;
  await until(async () => (await d.api('GET', '/api/admin/resources')).process.open_files > 0, 'the request to have begun');
  d.child.kill('SIGTERM');
  await idle.untilClosed();
  await until(async () => !(await connect(d.port).opened), 'a refusal of new connections');
  busy.send(body.slice(5));
  await busy.untilClosed();
  const [a] = answers(busy.text);
  assert.equal(a.status, 401);
  assert.equal(a.headers.connection, 'close');
  assert.deepEqual(await d.exited, { code: 0, signal: null });
});

test('a client that does not end is cut when the drain is over', async () => {
  const d = await startDaemon({ env: { GATEHOUSE_DRAIN: '8s' } });
  const stuck = connect(d.port);
  stuck.send('POST /api/admin/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"pa');
  await stuck.opened;
  await d.request('GET', '/health');
  const began = performance.now();
  assert.deepEqual(await d.stop(), { code: 0, signal: null });
  const ms = performance.now() - began;
  assert.ok(ms >= 8000 && ms < 12000, `${ms}`);
});

test('a second SIGTERM leaves within a second, flushed', async () => {
  const dataDir = tempDir();
  const d = await startDaemon({ dataDir });
  const id = await addChannel(d);
  await d.api('POST', `/api/targets/${id}/run`);
  await until(async () => (await d.api('GET', `/api/targets/${id}`)).item.last_status === 'healthy', 'a run');
  const { seq_assigned } = await d.api('GET', '/api/ledger');
  await sim.behave({ model: '*', fault: 'hang-head' });
  await d.api('POST', `/api/targets/${id}/run`);
  await until(async () => (await sim.stats()).in_flight >= 3, 'probes that hang');
  const stuck = connect(d.port);
  stuck.send('POST /api/admin/login HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n{"pa');
  await stuck.opened;
  await d.request('GET', '/health');
  d.child.kill('SIGTERM');
  await until(() => /stopping cause=SIGTERM/.test(d.log), 'the drain');
  const began = performance.now();
  d.child.kill('SIGTERM');
  assert.deepEqual(await d.exited, { code: 0, signal: null });
  assert.ok(performance.now() - began < 1000 * slowSanitizers, `${performance.now() - began} ms`);
  const [[[rows]], [[check]]] = sql(join(dataDir, 'gatehouse.db'), 'SELECT count(*) FROM probe_results', 'PRAGMA integrity_check');
  assert.equal(rows, 3);
  assert.ok(seq_assigned >= 3);
  assert.equal(check, 'ok');
  rmSync(dataDir, { recursive: true, force: true });
});

test('probes that hang are cancelled after 8 s, unstored; the run is due at once after the restart', async () => {
  const dataDir = tempDir();
  let d = await startDaemon({ dataDir });
  const id = await addChannel(d, { enabled: true, interval_min: 1440 });
  await d.api('POST', `/api/targets/${id}/run`);
  await until(async () => { const { item } = await d.api('GET', `/api/targets/${id}`); return item.last_status === 'healthy' && !item.running; }, 'the first run');
  await sim.behave({ model: '*', fault: 'hang-head' });
  await d.api('POST', `/api/targets/${id}/run`);
  await until(async () => (await sim.stats()).in_flight >= 3, 'probes that hang');
  const began = performance.now();
  assert.deepEqual(await d.stop(), { code: 0, signal: null });
  const ms = performance.now() - began;
  assert.ok(ms > 7000 && ms < 11000, `${ms}`);
  await sim.reset();
  const file = join(dataDir, 'gatehouse.db');
  assert.deepEqual(sql(file, 'SELECT count(*) FROM probe_results')[0], [[3]]);
  d = await startDaemon({ dataDir });
  await until(async () => (await d.api('GET', `/api/targets/${id}/runs`)).items.filter((r) => r.status === 'completed').length >= 2, 'the run that was due');
  assert.ok(!(await d.api('GET', `/api/targets/${id}/runs`)).items.some((r) => r.status === 'running'));
  await d.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

test('probes that end in time during the drain are kept', async () => {
  const dataDir = tempDir();
  const d = await startDaemon({ dataDir });
  const id = await addChannel(d);
  await sim.behave({ model: '*', delay_ms: 1200 });
  await d.api('POST', `/api/targets/${id}/run`);
  await until(async () => (await sim.stats()).in_flight >= 3, 'probes under way');
  assert.deepEqual(await d.stop(), { code: 0, signal: null });
  await sim.reset();
  assert.deepEqual(sql(join(dataDir, 'gatehouse.db'), 'SELECT success FROM probe_results', 'SELECT status, total, success FROM runs'), [[[1], [1], [1]], [['completed', 3, 3]]]);
  rmSync(dataDir, { recursive: true, force: true });
});

test('streams of 30 clients end properly at the drain, whatever the load', async () => {
  const d = await startDaemon();
  const streams = await Promise.all(Array.from({ length: 30 }, () => openEvents(d.url, '/api/events', admin)));
  await Promise.all(streams.map((s) => s.waitFor('connected')));
  let stop = false, bad = 0, good = 0;
  const load = Promise.all(Array.from({ length: 4 }, async () => {
    while (!stop) {
      try {
        const r = await d.request('GET', '/api/health');
        if (r.status === 200) good++;
        else bad++;
      } catch {
        if (!d.child.killed) bad++;
      }
      if (d.child.killed) break;
    }
  }));
  await until(() => good > 50, 'load');
  d.child.kill('SIGTERM');
  assert.deepEqual(await d.exited, { code: 0, signal: null });
  stop = true;
  await load;
  assert.equal(bad, 0);
  await Promise.all(streams.map((s) => until(() => s.closed, 'the end of a stream')));
});

test('SIGHUP 100 times: nothing leaks, nobody is disturbed', async () => {
  const d = await startDaemon();
  const count = () => (process.getuid() === 0 ? readdirSync(`/proc/${d.child.pid}/fd`).length : 0);
  const hup = async (n) => {
    const seen = d.log.split('reload:').length - 1;
    for (let i = 0; i < n; i++) {
      d.child.kill('SIGHUP');
      await until(() => d.log.split('reload:').length - 1 > seen + i, 'the reload');
    }
  };
  const kept = connect(d.port);
  kept.send(get('/health'));
  await kept.until(/"database"/);
  await hup(10);
  const [fds, rss] = [count(), procStatus(d.child.pid, 'VmRSS')];
  await hup(100);
  assert.equal(count(), fds);
  assert.ok(procStatus(d.child.pid, 'VmRSS') - rss < 1024 * slowSanitizers);
  kept.text = '';
  kept.send(get('/health'));
  await kept.until(/"database"/);
  kept.close();
  await d.stop();
});

test('SIGUSR1 cycles the log level', async () => {
  const d = await startDaemon();
  for (const [level, count] of [['debug', 1], ['warn', 1], ['info', 1], ['debug', 2]]) {
    d.child.kill('SIGUSR1');
    await until(() => d.log.split(`log level changed level=${level}`).length === count + 1, level);
    d.child.kill('SIGHUP'); // says an info line
    if (level === 'warn') await d.request('GET', '/health');
    else await until(() => /reload: nothing to read again/.test(d.log.slice(d.log.lastIndexOf('log level changed'))), 'an info line');
  }
  assert.doesNotMatch(/level=warn[^]*?level=info/.exec(d.log)[0], /reload/);
  await d.stop();
});

test('SIGPIPE, SIGUSR2 and a storm of SIGCHLD change nothing', async () => {
  const d = await startDaemon();
  const [cpu] = [cpuSeconds(d.child.pid)];
  for (let i = 0; i < 200; i++) for (const s of ['SIGPIPE', 'SIGUSR2', 'SIGCHLD', 'SIGWINCH']) d.child.kill(s);
  for (let i = 0; i < 20; i++) assert.equal((await d.request('GET', '/health')).status, 200);
  assert.ok(cpuSeconds(d.child.pid) - cpu < 1);
  assert.deepEqual(await d.stop(), { code: 0, signal: null });
});

test('clients that vanish before, in and after the answer leave nothing behind', async () => {
  const d = await startDaemon();
  const open = async () => (await d.api('GET', '/api/admin/resources')).process.open_files;
  for (let i = 0; i < 20; i++) await d.request('GET', '/openapi.json');
  await until(async () => (await open()) < 200, 'a quiet start');
  const before = await open();
  for (let round = 0; round < 10; round++) {
    const many = Array.from({ length: 30 }, () => connect(d.port));
    await Promise.all(many.map((c) => c.opened));
    many.forEach((c, i) => {
      if (i % 5 === 0) return c.close();
      if (i % 5 === 1) { c.send('GET /health HT'); c.socket.resetAndDestroy?.(); return undefined; }
      c.send(i % 5 === 2 ? get('/api/events') : get('/openapi.json').repeat(20));
      return setImmediate(() => (i % 2 ? c.socket.resetAndDestroy() : c.close()));
    });
  }
  await until(async () => (await open()) <= before + 2, 'descriptors back at the start');
  assert.deepEqual(await d.stop(), { code: 0, signal: null });
});

test('the reader of its log goes away: it serves on', async () => {
  const dataDir = tempDir();
  const d = await startDaemon({ dataDir, env: { GATEHOUSE_LOG_LEVEL: 'debug' } });
  d.child.stderr.destroy();
  d.child.stdout.destroy();
  for (let i = 0; i < 10; i++) assert.equal((await d.request('POST', '/api/admin/login', '{')).status, 400);
  d.child.kill('SIGHUP');
  assert.equal((await d.request('GET', '/health')).status, 200);
  assert.deepEqual(await d.stop(), { code: 0, signal: null });
  rmSync(dataDir, { recursive: true, force: true });
});

test('Ctrl-C in a shell: the whole group is told once and all end', async () => {
  const dataDir = tempDir();
  const child = spawn(process.env.GATEHOUSE_BIN ?? 'build/gatehouse', ['serve', '--listen=127.0.0.1:0'], { env: { PATH: process.env.PATH, DATA_DIR: dataDir }, detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  child.stdout.on('data', (b) => (out += b));
  await until(() => /docs\n/.test(out), 'the start');
  process.kill(-child.pid, 'SIGINT');
  assert.deepEqual(await new Promise((r) => child.once('exit', (code, signal) => r({ code, signal }))), { code: 0, signal: null });
  rmSync(dataDir, { recursive: true, force: true });
});
