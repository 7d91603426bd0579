// The live stream: first frame, heartbeat, ids, replay, resync of slow readers, end at drain.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, connect, openEvents, tempDir, raw, answers, until, parseMetrics, procStatus, ADMIN_TOKEN, isSanitized } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const dir = tempDir();
const socketPath = join(dir, 'gate.sock');
let d;
before(async () => { d = await startDaemon({ env: { GATEHOUSE_SSE_HEARTBEAT: '200ms', GATEHOUSE_LISTEN: `127.0.0.1:0,unix:${socketPath}` } }); });
after(async () => {
  await d?.stop();
  rmSync(dir, { recursive: true, force: true });
});
// Any event will do: a change of settings is told to all.
const cause = async (n = 1, daemon = d) => { for (let i = 0; i < n; i++) await daemon.api('PATCH', '/api/admin/settings', { liquid_glass_enabled: i % 2 === 0 }); };
const ids = (stream) => stream.events.filter((e) => e.id).map((e) => Number(e.id));
const metric = async (name, daemon = d) => parseMetrics((await daemon.request('GET', '/metrics', undefined, admin)).text).samples.get(name);

test('headers, and `connected` at once', async () => {
  const s = await openEvents(d.url, '/api/events', admin);
  assert.equal(s.status, 200);
  assert.equal(s.headers.get('content-type'), 'text/event-stream');
  assert.equal(s.headers.get('cache-control'), 'no-cache');
  assert.equal(s.headers.get('x-accel-buffering'), 'no');
  const first = await s.waitFor('connected');
  assert.equal(first, s.events[0]);
  assert.equal(first.data, 'ok');
  assert.ok(s.text.startsWith('event: connected\ndata: ok\n\n'));
  await s.close();
});

test('a sign of life in every pause', async () => {
  const s = await openEvents(d.url, '/api/events', admin);
  await until(() => s.text.split(': heartbeat\n\n').length > 3, 'three heartbeats', 10000);
  await s.close();
});

test('events have ascending ids and reach all clients of all loops', async () => {
  const all = await Promise.all(Array.from({ length: 12 }, () => openEvents(d.url, '/api/events', admin)));
  await Promise.all(all.map((s) => s.waitFor('connected')));
  await cause(5);
  await Promise.all(all.map((s) => until(() => ids(s).length === 5, 'five events')));
  for (const s of all) {
    assert.deepEqual(ids(s), ids(all[0]));
    assert.ok(ids(s).every((v, i, a) => i === 0 || v === a[i - 1] + 1));
    assert.ok(s.events.filter((e) => e.id).every((e) => e.event === 'auth_changed' && JSON.parse(e.data).message));
  }
  assert.equal(await metric('gatehouse_sse_clients'), 12);
  await Promise.all(all.map((s) => s.close()));
  await until(async () => (await metric('gatehouse_sse_clients')) === 0, 'all gone');
});

test('changes of channels are told', async () => {
  const s = await openEvents(d.url, '/api/events', admin);
  await s.waitFor('connected');
  const { item } = await d.api('POST', '/api/targets', { name: 'told', base_url: 'http://127.0.0.1:59999/v1', api_key: 'sk-x', enabled: false });
  await d.api('PATCH', `/api/targets/${item.id}`, { interval_min: 5 });
  await d.api('PATCH', `/api/admin/channels/${item.id}/advanced`, { max_models: 3 });
  await d.api('DELETE', `/api/targets/${item.id}`);
  for (const action of ['created', 'updated', 'admin_advanced_updated', 'deleted'])
    await s.waitFor('target_updated', (e) => { const v = JSON.parse(e.data); return v.action === action && v.target_id === item.id; });
  assert.ok(!s.text.includes('sk-x'));
  await s.close();
});

test('Last-Event-ID: by header or parameter, what came after it and nothing twice', async () => {
  const s = await openEvents(d.url, '/api/events', admin);
  await s.waitFor('connected');
  await cause(6);
  await until(() => ids(s).length >= 6, 'six events');
  const all = ids(s).slice(-6);
  await s.close();
  await cause(2);
  for (const [path, headers] of [['/api/events', { ...admin, 'last-event-id': String(all[2]) }], [`/api/events?last_event_id=${all[2]}`, admin], ['/api/events?last_event_id=1', { ...admin, 'last-event-id': String(all[2]) }]]) {
    const again = await openEvents(d.url, path, headers);
    await until(() => ids(again).length >= 5, 'the missed ones');
    await cause();
    await until(() => ids(again).length >= 6, 'a new one');
    assert.deepEqual(ids(again).slice(0, 5), [all[3], all[4], all[5], all[5] + 1, all[5] + 2]);
    assert.equal(new Set(ids(again)).size, ids(again).length);
    assert.equal(again.events.filter((e) => e.event === 'connected').length, 1);
    await again.close();
  }
});

test('an id of an earlier process or from the future: resync', async () => {
  for (const id of ['99999999', '18446744073709551614']) {
    const s = await openEvents(d.url, '/api/events', { ...admin, 'last-event-id': id });
    await s.waitFor('resync');
    await cause();
    await s.waitFor('auth_changed');
    await s.close();
  }
  for (const id of ['x', '-1', '1.5', '99999999999999999999999', '']) {
    const s = await openEvents(d.url, '/api/events', { ...admin, 'last-event-id': id });
    await s.waitFor('connected');
    await cause();
    await s.waitFor('auth_changed');
    assert.ok(!s.events.some((e) => e.event === 'resync'), id);
    await s.close();
  }
});

test('HEAD ends at once; HTTP/1.0 gets a stream without chunks', async () => {
  const head = await raw(d.port, `HEAD /api/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\nConnection: close\r\n\r\n`);
  assert.match(head, /^HTTP\/1\.1 200 [^]*\r\n\r\n$/);
  const c = connect(d.port);
  c.send(`GET /api/events HTTP/1.0\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\n\r\n`);
  await c.until(/\r\n\r\nevent: connected\ndata: ok\n\n/);
  assert.doesNotMatch(c.text, /Transfer-Encoding/);
  await cause();
  await c.until(/event: auth_changed/);
  c.close();
});

test('a slow reader is told to start over, costs little, and holds nobody up', async () => {
  const slow = connect(0, { path: socketPath }); // its buffers are smaller than those of TCP
  await slow.opened;
  slow.send(`GET /api/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\n\r\n`);
  await slow.until(/connected/);
  slow.socket.pause();
  const fast = await openEvents(d.url, '/api/events', admin);
  await fast.waitFor('connected');
  const rss = procStatus(d.child.pid, 'VmRSS');
  const before = ids(fast).length;
  const one = `PATCH /api/admin/settings HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\nContent-Length: 29\r\n`;
  for (let round = 0; round < 6; round++) {
    const text = `${one}\r\n{"liquid_glass_enabled":true}`.repeat(499) + `${one}Connection: close\r\n\r\n{"liquid_glass_enabled":true}`;
    assert.equal(answers(await raw(d.port, text)).length, 500);
  }
  await until(() => ids(fast).length === before + 3000, 'all events for the fast one');
  assert.ok(!fast.events.some((e) => e.event === 'resync'));
  slow.socket.resume();
  await slow.until(/event: resync/);
  slow.close();
  assert.ok((await metric('gatehouse_sse_resyncs_total')) >= 1);
  if (!isSanitized) assert.ok(procStatus(d.child.pid, 'VmRSS') - rss < 16 * 1024);
  await fast.close();
});

test('drain ends every stream properly', async () => {
  const own = await startDaemon();
  const all = await Promise.all(Array.from({ length: 6 }, () => openEvents(own.url, '/api/events', admin)));
  await Promise.all(all.map((s) => s.waitFor('connected')));
  const c = connect(own.port);
  c.send(`GET /api/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\n\r\n`);
  await c.until(/connected/);
  const began = performance.now();
  own.child.kill('SIGTERM');
  assert.deepEqual(await own.exited, { code: 0, signal: null });
  assert.ok(performance.now() - began < 5000);
  await Promise.all(all.map((s) => until(() => s.closed, 'its end')));
  await c.untilClosed();
  assert.match(c.text, /0\r\n\r\n$/, 'the last chunk came');
});
