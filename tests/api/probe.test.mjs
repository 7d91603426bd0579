// What a run does with odd upstreams, seen from outside.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { ADMIN_TOKEN, startDaemon, startSim, until } from '../harness.mjs';

let daemon, sim;
const KEY = 'sk-planted-secret-000000000001';

before(async () => {
  sim = await startSim();
  daemon = await startDaemon({ env: { GATEHOUSE_VISITOR_MODE: 'true', GATEHOUSE_VISITOR_CREATE: 'true', API_MONITOR_TOKEN_VISITOR: 'visitor-0123456789' } });
});
after(async () => {
  await daemon?.stop();
  await sim?.stop();
});

async function create(name, extra = {}) {
  return (await daemon.api('POST', '/api/targets', { name, base_url: sim.url, api_key: KEY, timeout_s: 5, ...extra })).item;
}

async function run(id) {
  const { run_id } = await daemon.api('POST', `/api/targets/${id}/run`);
  return until(async () => {
    const { item } = await daemon.api('GET', `/api/targets/${id}`);
    return !item.running && item.last_run_id >= run_id && item;
  }, `the end of run ${run_id}`);
}

test('a key that the upstream repeats is found nowhere', async () => {
  await sim.reset();
  await sim.behave({ model: '*', status: 401, body: JSON.stringify({ error: { message: `Incorrect API key provided: ${KEY}`, code: 'invalid_api_key' } }) });
  const ch = await create('echo');
  const item = await run(ch.id);
  assert.equal(item.last_status, 'down');
  assert.match(item.latest_models[0].error, /Incorrect API key provided: \*{4}0001/);
  await sim.reset();
  await sim.behave({ model: '*', text: `your key is ${KEY}` });
  await run(ch.id);
  await sim.behave({ route: 'models', status: 403, body: `{"error":"no access for ${KEY}"}` });
  assert.match((await run(ch.id)).last_error, /no access for \*{4}0001/);
  const texts = await Promise.all(['/api/targets', `/api/targets/${ch.id}/logs?scope=all`, `/api/targets/${ch.id}/runs`].map((p) => daemon.request('GET', p, undefined, { authorization: `Bearer ${ADMIN_TOKEN}` })));
  for (const t of texts) assert.ok(!t.text.includes(KEY));
  assert.ok(!daemon.log.includes(KEY), 'the log');
  let hits = '';
  try {
    hits = execFileSync('grep', ['-rlaF', KEY, daemon.dataDir], { encoding: 'utf8' });
  } catch {
    // grep found nothing
  }
  assert.equal(hits, '', 'the data directory');
  await sim.reset();
});

test('a name that does not resolve harms no later run of another channel', async () => {
  await sim.reset();
  const good = await create('good');
  const lost = await create('lost', { base_url: 'http://no-such-host.invalid' });
  assert.equal((await run(good.id)).last_status, 'healthy');
  assert.match((await run(lost.id)).last_error, /host not found/);
  assert.match((await run(lost.id)).last_error, /host not found/);
  assert.equal((await run(good.id)).last_status, 'healthy');
});

test('the address of a visitor is refused when it leads into a private network', async () => {
  const visitor = { authorization: 'Bearer visitor-0123456789' };
  const direct = await daemon.request('POST', '/api/targets', { name: 'v1', base_url: sim.url, api_key: KEY }, visitor);
  assert.equal(direct.status, 400);
  assert.equal(direct.json.field, 'base_url');
  // A name of this host passes at save; the address it leads to is refused when it is connected to.
  const byName = await daemon.request('POST', '/api/targets', { name: 'v2', base_url: `http://ip6-localhost:${sim.port}`, api_key: KEY }, visitor);
  if (byName.status === 200) assert.match((await run(byName.json.item.id)).last_error, /refused|not allowed|private|host not found/);
  else assert.equal(byName.json.field, 'base_url');
});

test('models list faults end the run with the text of the original', async () => {
  const ch = await create('list');
  const cases = [
    [{ fault: 'not-json' }, 'models response must be JSON object'],
    [{ fault: 'list-no-data' }, 'models response missing data[]'],
    [{ fault: 'list-empty' }, 'models list is empty'],
    [{ status: 503, body: '{"error":{"message":"busy"}}' }, 'GET /v1/models failed: HTTP 503 - busy'],
  ];
  for (const [behaviour, text] of cases) {
    await sim.reset();
    await sim.behave({ route: 'models', ...behaviour });
    const item = await run(ch.id);
    assert.equal(item.last_status, 'error', text);
    assert.equal(item.last_error, text);
    assert.equal(item.last_total, 0);
  }
  await sim.reset();
});

test('every kind of broken upstream ends as one failed row, never as a stuck run', async () => {
  const faults = ['garbage', 'bad-status', 'http09', 'lf-only', 'te-cl', 'two-lengths', 'length-over', 'chunk-cut', 'chunk-bad', 'no-last-chunk', 'header-1m', 'headers-10k', 'gzip-bomb', 'gzip-invalid', 'not-json', 'html', 'empty-body', 'cut-json', 'depth-bomb', 'error-200-success', 'error-200-code', 'error-200-string', 'error-200-object', 'empty-choices', 'null-content', 'big-body', 'redirect', 'hang-head', 'hang-body', 'reset'];
  const ch = await create('broken', { selected_models: ['gpt-4o-mini'], timeout_s: 3 });
  for (const fault of faults) {
    await sim.reset();
    await sim.behave({ model: '*', fault, ...(fault === 'big-body' ? { size: 64 << 20 } : {}), ...(fault === 'redirect' ? { body: `${sim.url}/elsewhere` } : {}) });
    const item = await run(ch.id);
    assert.equal(item.last_total, 1, fault);
    assert.equal(item.last_success, 0, `${fault}: ${JSON.stringify(item.latest_models[0])}`);
    assert.ok(item.latest_models[0].error, fault);
    assert.notEqual(item.latest_models[0].outcome, 'ok', fault);
  }
  await sim.reset();
  await sim.behave({ model: '*', fault: 'bad-utf8' }); // readable but for a byte, which is replaced
  assert.equal((await run(ch.id)).last_status, 'healthy');
  await sim.reset();
  assert.equal((await run(ch.id)).last_status, 'healthy');
});

test('a streaming probe measures the time to the first token', async () => {
  await sim.reset();
  await sim.behave({ model: '*', pace_ms: 10, delay_ms: 30 });
  const ch = await create('stream', { stream_probe: true });
  const item = await run(ch.id);
  assert.equal(item.last_status, 'healthy', JSON.stringify(item.latest_models));
  for (const m of item.latest_models) {
    assert.ok(m.ttft > 0.02, `${m.model}: ttft ${m.ttft}`);
    assert.ok(m.duration >= m.ttft, m.model);
  }
  const { items } = await daemon.api('GET', `/api/targets/${ch.id}/logs`);
  assert.ok(items.every((r) => r.stream === true));
});
