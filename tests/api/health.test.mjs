// The health of a channel's model: its window and breaker in the API, in the live stream and in /metrics.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startDaemon, startSim, openEvents, until, parseMetrics, ADMIN_TOKEN } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
let d, sim, events;
before(async () => {
  [d, sim] = await Promise.all([startDaemon(), startSim()]);
  events = await openEvents(d.url, '/api/events', admin);
});
after(async () => {
  await events?.close();
  await d?.stop();
  await sim?.stop();
});
const fresh = { state: 'closed', good: 0, samples: 0, latency_ewma: null, ttft_ewma: null, fault: null, open_until: null };
const create = async (name, more) => (await d.api('POST', '/api/targets', { name, base_url: `${sim.url}/v1`, api_key: 'sk-x', ...more })).item.id;
const one = async (id) => (await d.api('GET', `/api/targets/${id}`)).item;
// A whole run; the health of its models by name.
async function run(id) {
  const { run_id } = await d.api('POST', `/api/targets/${id}/run`);
  const item = await until(async () => { const i = await one(id); return !i.running && i.last_run_id === run_id && i; }, `run ${run_id}`);
  return Object.fromEntries(item.latest_models.map((m) => [m.model, m.health]));
}
const samples = async () => parseMetrics((await d.request('GET', '/metrics', undefined, admin)).text).samples;
const states = async () => { const s = await samples(); return ['closed', 'open', 'half_open'].map((n) => s.get(`gatehouse_channel_model_state{state="${n}"}`)); };
const channels = async () => Object.fromEntries([...await samples()].filter(([k]) => k.startsWith('gatehouse_channels{')).map(([k, v]) => [/"(.*)"/.exec(k)[1], v]));
const told = (id) => events.events.filter((e) => e.event === 'health_changed').map((e) => JSON.parse(e.data)).filter((e) => e.target_id === id);

test('three failures in a row open the breaker of that model, a success closes it', async () => {
  const id = await create('breaks', { selected_models: ['gpt-4o-mini', 'claude-sonnet-4-5'] });
  assert.deepEqual(await channels(), { healthy: 0, degraded: 0, down: 0, error: 0, no_models: 0, never: 1, disabled: 0 });
  let h = await run(id);
  for (const m of Object.values(h)) {
    assert.deepEqual([m.state, m.good, m.samples, m.ttft_ewma, m.fault, m.open_until], ['closed', 1, 1, null, null, null]);
    assert.ok(typeof m.latency_ewma === 'number' && m.latency_ewma < 10, `${m.latency_ewma}`);
  }
  assert.deepEqual(await states(), [2, 0, 0]);

  await sim.behave({ model: 'gpt-4o-mini', status: 500 });
  await run(id);
  h = await run(id);
  assert.deepEqual([h['gpt-4o-mini'].state, h['gpt-4o-mini'].good, h['gpt-4o-mini'].samples], ['closed', 1, 3]);
  assert.deepEqual(told(id), []);
  const began = Date.now() / 1000;
  h = await run(id);
  const { open_until, latency_ewma, ...broken } = h['gpt-4o-mini'];
  assert.deepEqual(broken, { state: 'open', good: 1, samples: 4, ttft_ewma: null, fault: 'upstream' });
  assert.ok(open_until >= began + 29.9 && open_until <= Date.now() / 1000 + 30.1, `${open_until - began}`);
  assert.deepEqual([h['claude-sonnet-4-5'].state, h['claude-sonnet-4-5'].good, h['claude-sonnet-4-5'].samples], ['closed', 4, 4]);
  const listed = (await d.api('GET', '/api/targets')).items.find((i) => i.id === id);
  assert.equal(listed.latest_models.find((m) => m.model === 'gpt-4o-mini').health.state, 'open');
  await until(() => told(id).length === 1, 'the event');
  assert.deepEqual(told(id), [{ target_id: id, model: 'gpt-4o-mini', from: 'closed', to: 'open', fault: 'upstream' }]);
  assert.deepEqual(await states(), [1, 1, 0]);
  assert.deepEqual(await channels(), { healthy: 0, degraded: 1, down: 0, error: 0, no_models: 0, never: 0, disabled: 0 });

  await sim.reset();
  h = await run(id);
  assert.deepEqual([h['gpt-4o-mini'].state, h['gpt-4o-mini'].good, h['gpt-4o-mini'].samples, h['gpt-4o-mini'].fault, h['gpt-4o-mini'].open_until], ['closed', 2, 5, null, null]);
  await until(() => told(id).length === 2, 'the second event');
  assert.deepEqual(told(id)[1], { target_id: id, model: 'gpt-4o-mini', from: 'open', to: 'closed', fault: null });
  assert.deepEqual(await states(), [2, 0, 0]);
  assert.equal((await channels()).healthy, 1);

  await d.api('PATCH', `/api/targets/${id}`, { enabled: false });
  assert.deepEqual([await states(), (await channels()).disabled, (await channels()).healthy], [[0, 0, 0], 1, 0]);
  await d.api('DELETE', `/api/targets/${id}`);
  assert.deepEqual(Object.values(await channels()).reduce((a, b) => a + b), 0);
});

test('what is not the upstream’s fault opens nothing; the first token is averaged', async () => {
  const id = await create('client', { selected_models: ['gpt-4o-mini'], stream_probe: true });
  await sim.behave({ model: '*', status: 400 });
  for (let i = 0; i < 4; i++) assert.equal((await run(id))['gpt-4o-mini'].state, 'closed');
  assert.equal((await run(id))['gpt-4o-mini'].samples, 0);
  await sim.reset();
  await sim.behave({ model: '*', delay_ms: 30, pace_ms: 5 });
  const { ttft_ewma, latency_ewma } = (await run(id))['gpt-4o-mini'];
  assert.ok(ttft_ewma >= 0.03 && latency_ewma >= ttft_ewma, `${ttft_ewma} ${latency_ewma}`);
  assert.deepEqual(told(id), []);
  await sim.reset();
});

test('nothing is known of the time before the start', async () => {
  const id = await create('again', { selected_models: ['gpt-4o-mini'] });
  await run(id);
  await d.kill();
  await events.close();
  d = await startDaemon({ dataDir: d.dataDir });
  assert.deepEqual((await one(id)).latest_models.map((m) => m.health), [fresh]);
});
