// Channels under watch, at an upstream of ours and at one nobody here wrote: by schedule after a start and on
// demand, with what came of it in page data, logs, runs, live events, files and metrics (spec 1 sections 1.3-1.5, 2.2).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { startDaemon, startSim, startAimock, openEvents, parseMetrics, closedPort, tempDir } from '../harness.mjs';
import { admin, asked, create, finished, item, KEY, lines, rows, run, runs } from './channels.mjs';

const MOCK_MODELS = ['claude-3-5-sonnet-20241022', 'gemini-2.0-flash', 'gpt-4', 'gpt-4o', 'text-embedding-3-small'];
const SIM_MODELS = ['claude-sonnet', 'codex-mini', 'gemini-2.5-pro', 'gpt-bad;status=500;body=boom', 'gpt-4o'];
const JSONL = ['protocol', 'model', 'stream', 'duration', 'success', 'transport_success', 'tool_calls_count', 'tool_calls', 'content', 'timestamp', 'error', 'status_code', 'route', 'endpoint', 'target_id', 'run_id', 'target_name'];

let d, sim, mock, dataDir, atMock, atSim, lost, events;

before(async () => {
  sim = await startSim(SIM_MODELS.flatMap((m) => ['--model', m]));
  mock = await startAimock();
  mock.onMessage(/.*/, { content: 'I am a mock' });
  dataDir = tempDir();
  const earlier = await startDaemon({ dataDir });
  atMock = await create(earlier, mock.url, { name: 'at-aimock', enabled: true });
  atSim = await create(earlier, `${sim.url}/v1`, { name: 'at-llm-sim', enabled: true });
  lost = await create(earlier, `http://127.0.0.1:${await closedPort()}`, { name: 'nobody-there', enabled: true });
  assert.equal((await earlier.stop()).code, 0);
  assert.equal((await asked(sim)).length, 0, 'a new channel is not probed behind its maker\'s back');
  d = await startDaemon({ dataDir, env: { TZ: 'Asia/Kathmandu' } });
  events = await openEvents(d.url, '/api/events?last_event_id=0', admin);
  await Promise.all([atMock, atSim, lost].map((t) => finished(d, t.id)));
});
after(async () => {
  await events?.close();
  await d?.stop();
  await Promise.all([mock?.stop(), sim?.stop()]);
  if (dataDir) rmSync(dataDir, { recursive: true, force: true });
});

test('a channel that never ran is due at the start; its results are in the page data', async () => {
  const { items } = await d.api('GET', '/api/targets');
  const by = Object.fromEntries(items.map((t) => [t.name, t]));
  const m = by['at-aimock'], s = by['at-llm-sim'], l = by['nobody-there'];
  assert.deepEqual([m.last_status, m.last_total, m.last_success, m.last_fail, m.last_success_rate, m.last_error], ['healthy', 5, 5, 0, 100, null]);
  assert.deepEqual(m.latest_models.map((x) => x.model), MOCK_MODELS);
  assert.deepEqual(m.latest_models.map((x) => x.protocol), ['anthropic', 'gemini', 'openai', 'openai', 'openai']);
  assert.deepEqual([s.last_status, s.last_total, s.last_success, s.last_fail, s.last_success_rate], ['degraded', 5, 4, 1, 80]);
  assert.deepEqual(s.latest_models.map((x) => x.model), SIM_MODELS.toSorted());
  const bad = s.latest_models.find((x) => x.model.startsWith('gpt-bad'));
  assert.deepEqual([bad.success, bad.status_code, bad.outcome, bad.error], [false, 500, 'server_error', 'HTTP 500: boom']);
  for (const x of [...m.latest_models, ...s.latest_models]) {
    assert.equal(x.history.length, 1);
    assert.deepEqual(x.history[0], { success: x.success, duration: x.duration, timestamp: x.timestamp, error: x.error, status_code: x.status_code });
  }
  assert.deepEqual([l.last_status, l.last_total, l.latest_models], ['error', 0, []]);
  assert.match(l.last_error, /^GET \/v1\/models failed: HTTP GET http:\/\/127\.0\.0\.1:\d+\/v1\/models failed \(\d+ms\): connection refused$/);
  assert.equal(l.last_log_file, null, 'no list, no file');
  for (const t of [m, s]) assert.ok(t.last_run_at > t.created_at && t.next_run_at >= t.last_run_at + 1800);
  const board = await d.api('GET', '/api/dashboard');
  assert.deepEqual([board.total_targets, board.enabled_targets, board.running_targets, board.queued_targets, board.healthy, board.degraded, board.down_or_error, board.models, board.models_healthy],
    [3, 3, 0, 0, 1, 1, 1, 10, 9]);
});

test('runs by schedule say so', async () => {
  for (const [t, total, success] of [[atMock, 5, 5], [atSim, 5, 4]]) {
    const all = await runs(d, t.id);
    assert.equal(all.length, 1);
    const [r] = all;
    assert.deepEqual([r.target_id, r.status, r.total, r.success, r.fail, r.error, r.cause], [t.id, 'completed', total, success, total - success, null, 'schedule']);
    assert.ok(r.finished_at >= r.started_at);
  }
  const [r] = await runs(d, lost.id);
  assert.deepEqual([r.status, r.total, r.log_file, r.cause], ['error', 0, null, 'schedule']);
  assert.match(r.error, /connection refused/);
});

test('the file of a run: its name, one object a probe, the fields of the logs', async () => {
  for (const t of [atMock, atSim]) {
    const [r] = await runs(d, t.id);
    assert.equal(r.log_file, (await item(d, t.id)).last_log_file);
    assert.equal(dirname(r.log_file), join(dataDir, 'logs'));
    const [, id, stamp] = /^target_(\d+)_(\d{8}_\d{6})\.jsonl$/.exec(basename(r.log_file));
    assert.equal(Number(id), t.id);
    // Kathmandu is 5:45 ahead.
    const local = new Date(r.started_at * 1000 + 345 * 60000).toISOString().replace(/\.\d+Z/, '').replaceAll(/[-:]/g, '').replace('T', '_');
    assert.equal(stamp, local);
    const file = lines(r.log_file), stored = await rows(d, t.id);
    assert.equal(file.length, 5);
    assert.equal(new Set(file.map((l) => l.model)).size, 5);
    assert.deepEqual(file.map((l) => l.timestamp), file.map((l) => l.timestamp).toSorted((a, b) => a - b), 'in the order of their ends');
    for (const line of file) {
      const row = stored.find((x) => x.model === line.model);
      assert.deepEqual(Object.keys(line).slice(0, JSONL.length), JSONL);
      for (const name of JSONL.filter((n) => n !== 'target_name')) assert.deepEqual(line[name], row[name], `${line.model} ${name}`);
      assert.equal(line.target_name, t.name);
      assert.deepEqual([line.tool_calls, line.tool_calls_count, line.stream], [[], 0, false]);
    }
    assert.ok(!readFileSync(r.log_file, 'utf8').includes(KEY));
  }
});

test('rows tell route, text and verdict', async () => {
  const by = Object.fromEntries((await rows(d, atSim.id)).map((r) => [r.model.split(';')[0], r]));
  assert.deepEqual(Object.entries(by).map(([m, r]) => [m, r.protocol, r.route, r.endpoint, r.success, r.transport_success, r.status_code]).sort(), [
    ['claude-sonnet', 'anthropic', 'anthropic', 'messages', true, true, 200],
    ['codex-mini', 'openai', 'responses', 'responses', true, true, 200],
    ['gemini-2.5-pro', 'gemini', 'gemini', 'gemini', true, true, 200],
    ['gpt-4o', 'openai', 'chat', 'chat', true, true, 200],
    ['gpt-bad', 'openai', 'chat', 'chat', false, true, 500],
  ]);
  assert.deepEqual([by['gpt-4o'].content, by['gpt-4o'].error], ['I am gpt-4o', null]);
  assert.deepEqual([by['gpt-bad'].content, by['gpt-bad'].error], [null, 'HTTP 500: boom']);
  for (const r of await rows(d, atMock.id)) assert.equal(r.content, 'I am a mock');
});

test('live: start, each model, end; an error run ends too, with its text', async () => {
  for (const t of [atMock, atSim, lost]) {
    const [r] = await runs(d, t.id);
    await events.waitFor('run_completed', (e) => JSON.parse(e.data).run_id === r.id);
    const mine = events.events.filter((e) => e.id && JSON.parse(e.data).run_id === r.id).map((e) => ({ event: e.event, ...JSON.parse(e.data) }));
    assert.deepEqual(mine.map((e) => e.event), ['run_started', ...Array(r.total).fill('model_result'), 'run_completed']);
    assert.deepEqual(mine[0], { event: 'run_started', target_id: t.id, target_name: t.name, run_id: r.id });
    assert.deepEqual(mine.at(-1), { event: 'run_completed', target_id: t.id, target_name: t.name, run_id: r.id, status: (await item(d, t.id)).last_status, total: r.total, success: r.success, fail: r.fail, error: r.error });
    const stored = await rows(d, t.id);
    for (const e of mine.slice(1, -1)) {
      const row = stored.find((x) => x.model === e.model);
      assert.deepEqual(Object.keys(e).sort(), ['duration', 'error', 'event', 'model', 'outcome', 'protocol', 'run_id', 'status_code', 'success', 'target_id', 'timestamp'].sort());
      for (const name of Object.keys(e).filter((n) => n !== 'event')) assert.deepEqual(e[name], row[name], `${e.model} ${name}`);
    }
  }
  const ids = events.events.filter((e) => e.id).map((e) => Number(e.id));
  assert.deepEqual(ids, ids.map((_, i) => i + 1));
  assert.ok(!events.text.includes(KEY));
});

test('metrics count probes by outcome and runs by how they ended', async () => {
  const { samples, types } = parseMetrics((await d.request('GET', '/metrics', undefined, admin)).text);
  assert.equal(types.get('gatehouse_probes_total'), 'counter');
  assert.equal(samples.get('gatehouse_probes_total{outcome="ok"}'), 9);
  assert.equal(samples.get('gatehouse_probes_total{outcome="server_error"}'), 1);
  assert.equal(samples.get('gatehouse_runs_total{status="completed"}'), 2);
  assert.equal(samples.get('gatehouse_runs_total{status="error"}'), 1);
  assert.equal(samples.get('gatehouse_runs_running'), 0);
  assert.equal(samples.get('gatehouse_probes_running'), 0);
  assert.equal(samples.get('gatehouse_runs_queued'), 0);
  assert.equal(samples.get('gatehouse_probe_duration_seconds_count'), 10);
});

test('on demand: everything moves on by one run', async () => {
  const seen = mock.getRequests().length;
  const m = await run(d, atMock.id), s = await run(d, atSim.id), l = await run(d, lost.id);
  assert.deepEqual([m.last_status, s.last_status, l.last_status], ['healthy', 'degraded', 'error']);
  assert.deepEqual(m.latest_models.map((x) => x.history.length), [2, 2, 2, 2, 2]);
  for (const x of s.latest_models) assert.ok(x.history[0].timestamp < x.history[1].timestamp, 'oldest first');
  assert.ok(mock.getRequests().length >= seen + 5);
  for (const t of [m, s, l]) {
    const all = await runs(d, t.id);
    assert.deepEqual(all.map((r) => r.cause), ['manual', 'schedule']);
    assert.equal(all[0].id, t.last_run_id);
    const done = JSON.parse((await events.waitFor('run_completed', (e) => JSON.parse(e.data).run_id === t.last_run_id)).data);
    assert.deepEqual([done.status, done.total, done.error], [t.last_status, t.last_total, t.last_error]);
  }
  assert.equal((await rows(d, atSim.id, 'scope=all')).length, 10);
  assert.equal(lines((await item(d, atSim.id)).last_log_file).length, 5);
  const { samples } = parseMetrics((await d.request('GET', '/metrics', undefined, admin)).text);
  assert.equal(samples.get('gatehouse_probes_total{outcome="ok"}'), 18);
  assert.equal(samples.get('gatehouse_runs_total{status="error"}'), 2);
});

test('a channel added on the page runs at once when asked, a failed list keeps what was known', async () => {
  const t = await create(d, `${sim.url}/v1/`, { enabled: true });
  const good = await run(d, t.id);
  assert.equal(good.last_status, 'degraded');
  await sim.behave({ route: 'models', status: 503, body: '{"error":{"message":"busy"}}' });
  const broken = await run(d, t.id);
  assert.deepEqual([broken.last_status, broken.last_error], ['error', 'GET /v1/models failed: HTTP 503 - busy']);
  assert.deepEqual(broken.latest_models.map((x) => x.model), good.latest_models.map((x) => x.model));
  await sim.reset();
});
