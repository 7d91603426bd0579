// Channels over the API of systems 1 and 2 (spec 1 sections 1.3, 1.4, 5.2, 11): shapes, order of checks,
// exact texts, runs against the simulated upstream, live events, what a visitor may.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, startSim, until, openEvents, sql, ADMIN_TOKEN } from '../harness.mjs';

const VISITOR = 'visitor-token-0123456789';
const visitor = { authorization: `Bearer ${VISITOR}` };
const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const KEY = 'sk-live-planted-0123456789';

let d, sim, n = 0;
const fresh = (more) => ({ name: `relay-${++n}`, base_url: `${sim.url}/v1`, api_key: KEY, ...more });
const create = async (more) => (await d.api('POST', '/api/targets', fresh(more))).item;
const item = async (id) => (await d.api('GET', `/api/targets/${id}`)).item;
const finished = (id) => until(async () => { const t = await item(id); return t.last_status && !t.running ? t : null; }, `run of ${id}`);
const run = async (id) => { const r = await d.api('POST', `/api/targets/${id}/run`); await finished(id); return r; };

before(async () => {
  sim = await startSim(['--model', 'gpt-4o', '--model', 'claude-sonnet', '--model', 'gemini-2.5-pro', '--model', 'broken;status=500']);
  d = await startDaemon({ env: { API_MONITOR_TOKEN_VISITOR: VISITOR, GATEHOUSE_VISITOR_MODE: 'true', DEFAULT_INTERVAL_MIN: '1440', MONITOR_MAX_PARALLEL_TARGETS: '8' } });
});
after(async () => { await d?.stop(); await sim?.stop(); });

describe('create and read', () => {
  test('answers 200 with the whole item and its defaults', async () => {
    const r = await d.request('POST', '/api/targets', fresh({ enabled: false, interval_min: 2.0 }), admin);
    assert.equal(r.status, 200);
    assert.equal(r.headers.get('content-type'), 'application/json');
    assert.ok(r.text.endsWith('\n'));
    const t = r.json.item;
    for (const [key, value] of Object.entries({
      interval_min: 2, timeout_s: 30, verify_ssl: false, max_models: 0, anthropic_version: '2025-09-29', source_url: null,
      prompt: 'What is the exact model identifier (model string) you are using for this chat/session?', enabled: false,
      visitor_channel_actions_enabled: false, selected_models: [], last_run_at: null, last_status: null, last_total: null,
      last_success: null, last_fail: null, last_log_file: null, last_error: null, last_success_rate: null, running: false,
      latest_models: [], api_key: '****6789',
    })) assert.deepEqual(t[key], value, key);
    assert.ok(Math.abs(t.created_at - Date.now() / 1000) < 60);
    assert.deepEqual((await item(t.id)).id, t.id);
    assert.ok(!r.text.includes(KEY));
  });

  test('stores texts trimmed, the selection without doubles', async () => {
    const t = await create({ enabled: false, name: '  padded  ', selected_models: [' a ', 'b', 'a'] });
    assert.equal(t.name, 'padded');
    assert.deepEqual(t.selected_models, ['a', 'b']);
  });

  test('a name that is taken is 400 with the words of the database', async () => {
    const t = await create({ enabled: false });
    const r = await d.request('POST', '/api/targets', fresh({ name: t.name }), admin);
    assert.equal(r.status, 400);
    assert.match(r.json.detail, /UNIQUE constraint failed: targets\.name/);
    const other = await create({ enabled: false });
    const p = await d.request('PATCH', `/api/targets/${other.id}`, { name: t.name }, admin);
    assert.equal(p.status, 400);
    assert.match(p.json.detail, /UNIQUE constraint failed: targets\.name/);
  });

  test('metadata addresses are refused when saved', async () => {
    for (const base_url of ['http://169.254.169.254/latest', 'http://0x a9fe'.replace(' ', '') + 'a9fe', 'http://[::ffff:169.254.169.254]/']) {
      const r = await d.request('POST', '/api/targets', fresh({ base_url }), admin);
      assert.equal(r.status, 400, base_url);
      assert.equal(r.json.field, 'base_url');
    }
  });
});

describe('change', () => {
  test('checks id, then existence, then permission, then the body', async () => {
    const t = await create({ enabled: false });
    const row = async (path, body, headers, status, detail) => {
      const r = await d.request('PATCH', path, body, headers);
      assert.deepEqual([r.status, r.json.detail], [status, detail], path);
    };
    await row('/api/targets/abc', '{', admin, 400, 'invalid id');
    await row('/api/targets/0', '{', visitor, 400, 'invalid id');
    await row('/api/targets/99999', '{', visitor, 404, 'target not found');
    await row(`/api/targets/${t.id}`, '{', visitor, 403, 'channel operations are disabled for visitor token');
    await row(`/api/targets/${t.id}`, '{', admin, 400, 'invalid JSON');
    await row(`/api/targets/${t.id}`, { interval_min: 0 }, admin, 400, 'interval_min must be an integer between 1 and 1440');
  });

  test('absent and null leave, source_url null clears, {} and null change nothing', async () => {
    const t = await create({ enabled: false, source_url: 'https://shop.example/' });
    for (const body of [{}, 'null', { interval_min: null, enabled: null, name: null }]) {
      const r = await d.api('PATCH', `/api/targets/${t.id}`, body);
      assert.equal(r.item.updated_at, t.updated_at);
      assert.equal(r.item.enabled, false);
    }
    const r = await d.api('PATCH', `/api/targets/${t.id}`, { source_url: null, timeout_s: 12.5 });
    assert.equal(r.item.source_url, null);
    assert.equal(r.item.timeout_s, 12.5);
    assert.ok(r.item.updated_at >= t.updated_at);
  });

  test('what GET gave can be sent back, masks and all', async () => {
    const t = await create({ enabled: false, api_keys: ['sk-second-planted-key'] });
    const r = await d.api('PATCH', `/api/targets/${t.id}`, await item(t.id));
    assert.equal(r.item.updated_at, t.updated_at);
    const keys = await d.api('POST', `/api/targets/${t.id}/reveal-key`);
    assert.deepEqual(keys, { api_key: KEY, api_keys: ['sk-second-planted-key'] });
  });

  test('two admins: the second finds out', async () => {
    const t = await create({ enabled: false });
    await d.api('PATCH', `/api/targets/${t.id}`, { tags: ['first'], expected_updated_at: t.updated_at });
    const r = await d.request('PATCH', `/api/targets/${t.id}`, { tags: ['second'], expected_updated_at: t.updated_at }, admin);
    assert.equal(r.status, 409);
    assert.deepEqual((await item(t.id)).tags, ['first']);
  });

  test('revealing a key is audited and never stored by a cache', async () => {
    const t = await create({ enabled: false });
    const r = await d.request('POST', `/api/targets/${t.id}/reveal-key`, undefined, admin);
    assert.equal(r.headers.get('cache-control'), 'no-store');
    const rows = sql(join(d.dataDir, 'gatehouse.db'), `SELECT actor, subject, detail FROM audit WHERE action = 'channel.reveal_key' AND subject LIKE '${t.id} %'`)[0];
    assert.deepEqual(rows, [['admin token', `${t.id} ${t.name}`, '']]);
    assert.equal((await d.request('POST', `/api/targets/${t.id}/reveal-key`, undefined, visitor)).status, 403);
  });
});

describe('runs', () => {
  test('create, run, poll, logs, delete: the way old scripts go', async () => {
    const t = await create();
    await run(t.id);
    const done = await finished(t.id);
    assert.equal(done.last_status, 'degraded');
    assert.deepEqual([done.last_total, done.last_success, done.last_fail, done.last_success_rate], [4, 3, 1, 75]);
    assert.deepEqual(done.latest_models.map((m) => m.model), ['broken;status=500', 'claude-sonnet', 'gemini-2.5-pro', 'gpt-4o']);
    const ok = done.latest_models.find((m) => m.model === 'gpt-4o');
    assert.deepEqual([ok.protocol, ok.success, ok.error, ok.status_code], ['openai', true, null, 200]);
    assert.deepEqual(Object.keys(ok.history[0]).sort(), ['duration', 'error', 'status_code', 'success', 'timestamp']);
    const runs = await d.api('GET', `/api/targets/${t.id}/runs`);
    assert.equal(runs.target.id, t.id);
    const logs = await d.api('GET', `/api/targets/${t.id}/logs`);
    assert.equal(logs.run.id, runs.items[0].id);
    assert.equal(logs.count, 4);
    assert.deepEqual([logs.run.status, logs.run.total, logs.run.success, logs.run.fail], ['completed', 4, 3, 1]);
    assert.ok(readdirSync(join(d.dataDir, 'logs')).some((f) => f.startsWith(`target_${t.id}_`)));
    assert.deepEqual(await d.api('DELETE', `/api/targets/${t.id}`), { ok: true });
    assert.equal((await d.request('GET', `/api/targets/${t.id}/logs`, undefined, admin)).status, 404);
    assert.ok(!readdirSync(join(d.dataDir, 'logs')).some((f) => f.startsWith(`target_${t.id}_`)));
  });

  test('keep_logs leaves the files', async () => {
    const t = await create();
    await run(t.id);
    await d.api('DELETE', `/api/targets/${t.id}?keep_logs=1`);
    assert.ok(readdirSync(join(d.dataDir, 'logs')).some((f) => f.startsWith(`target_${t.id}_`)));
  });

  test('a disabled channel runs too; a second run while running is 409; cancel ends it', async () => {
    const slow = await startSim(['--model', 'gpt-slow;delay_ms=60000']);
    try {
      const t = await create({ enabled: false, base_url: slow.url, timeout_s: 60 });
      const r = await d.api('POST', `/api/targets/${t.id}/run`);
      assert.deepEqual([r.ok, r.message], [true, 'target started']);
      assert.equal((await item(t.id)).running, true);
      const again = await d.request('POST', `/api/targets/${t.id}/run`, undefined, admin);
      assert.deepEqual([again.status, again.json.detail], [409, 'target already running']);
      assert.ok((await d.api('GET', '/api/targets?status=running')).items.some((i) => i.id === t.id));
      assert.equal((await d.api('GET', '/api/dashboard')).running_targets >= 1, true);
      assert.deepEqual(await d.api('POST', `/api/targets/${t.id}/cancel`), { ok: true });
      await until(async () => !(await item(t.id)).running, 'the cancelled run to be stored');
      const idle = await d.request('POST', `/api/targets/${t.id}/cancel`, undefined, admin);
      assert.deepEqual([idle.status, idle.json.detail], [409, 'target is not running']);
      await d.api('POST', `/api/targets/${t.id}/run`);
      await d.api('DELETE', `/api/targets/${t.id}`); // cancels
      assert.ok(!(await d.api('GET', '/api/health')).running_targets.includes(t.id));
    } finally {
      await slow.stop();
    }
  });

  test('the picker joins the live list, the newest run and the selection', async () => {
    const t = await create({ enabled: false });
    await run(t.id);
    const patched = await d.api('PATCH', `/api/targets/${t.id}/models`, { selected_models: ['gpt-4o', 'gone'] });
    assert.deepEqual(patched.item.selected_models, ['gpt-4o', 'gone']);
    assert.equal(patched.item.api_key, undefined);
    const { item: p } = await d.api('GET', `/api/targets/${t.id}/models`);
    assert.equal(p.target_name, t.name);
    assert.deepEqual(p.selected_models, ['gpt-4o', 'gone']);
    const by = Object.fromEntries(p.available_models.map((m) => [m.model, m]));
    assert.deepEqual([by['gpt-4o'].success, by['broken;status=500'].success, by.gone.success], [true, false, null]);
    assert.deepEqual([by['gpt-4o'].listed, by.gone.listed], [true, false]);
    assert.equal(by['claude-sonnet'].protocol, 'anthropic');
    assert.deepEqual(p.last_ok_models, ['claude-sonnet', 'gemini-2.5-pro', 'gpt-4o']);
    assert.equal(p.live_error, null);
    const v = await d.request('GET', `/api/targets/${t.id}/models`, undefined, visitor);
    assert.deepEqual([v.status, v.json.detail], [403, 'admin token required']);
    for (const body of [{}, { selected_models: null }, { selected_models: 'x' }]) {
      const r = await d.request('PATCH', `/api/targets/${t.id}/models`, body, admin);
      assert.deepEqual([r.status, r.json.detail], [400, 'selected_models must be an array of strings']);
    }
  });

  test('an upstream that is gone leaves the picker its rest, with live_error', async () => {
    const gone = await startSim();
    await gone.stop();
    const t = await create({ enabled: false, base_url: gone.url, selected_models: ['m'] });
    const { item: p } = await d.api('GET', `/api/targets/${t.id}/models`);
    assert.deepEqual(p.available_models.map((m) => m.model), ['m']);
    assert.ok(p.live_error.length > 0);
  });
});

describe('list and order', () => {
  test('pages by cursor give every channel once; filters narrow', async () => {
    for (let i = 0; i < 7; i++) await create({ enabled: i % 2 === 0, tags: i < 3 ? ['paged'] : [] });
    const all = await d.api('GET', '/api/targets?history=0');
    assert.equal(all.permissions.role, 'admin');
    assert.equal(all.total, all.items.length);
    assert.equal(all.next, null);
    const seen = [];
    for (let after = ''; ;) {
      const page = await d.api('GET', `/api/targets?limit=3${after}`);
      seen.push(...page.items.map((i) => i.id));
      assert.equal(page.total, all.total);
      if (!page.next) break;
      after = `&after=${page.next}`;
    }
    assert.deepEqual(seen, all.items.map((i) => i.id));
    const tagged = await d.api('GET', '/api/targets?tag=paged');
    assert.equal(tagged.items.length, 3);
    assert.equal((await d.api('GET', '/api/targets?tag=paged&enabled=false')).items.length, 1);
    assert.equal((await d.api('GET', `/api/targets?q=${tagged.items[0].name.toUpperCase()}&tag=paged`)).items.length, 1);
    for (const bad of ['status=bad', 'protocol=x', 'enabled=maybe', 'after=x', 'after=1-']) {
      const r = await d.request('GET', `/api/targets?${bad}`, undefined, admin);
      assert.equal(r.status, 400, bad);
      assert.equal(r.json.field, bad.split('=')[0]);
    }
    assert.equal((await d.api('GET', '/api/targets?limit=abc&history=999')).items.length, all.total); // defaults, clamps
  });

  test('reorder puts the named first, renumbers all, and names what is wrong', async () => {
    const ids = (await d.api('GET', '/api/targets')).items.map((i) => i.id);
    const first = [ids[2], ids[0]];
    assert.deepEqual(await d.api('PATCH', '/api/targets/reorder', { target_ids: first }), { ok: true });
    const now = (await d.api('GET', '/api/targets')).items;
    assert.deepEqual(now.map((i) => i.id), [...first, ...ids.filter((i) => !first.includes(i))]);
    assert.deepEqual(now.map((i) => i.sort_order), now.map((_, i) => i + 1));
    for (const [body, detail] of [
      [{ target_ids: [] }, 'target_ids must not be empty'], [{}, 'target_ids must not be empty'],
      [{ target_ids: [0] }, 'target_ids must contain positive integers'], [{ target_ids: ['1'] }, 'target_ids must contain positive integers'],
      [{ target_ids: [ids[0], ids[0]] }, 'target_ids must not contain duplicates'], [{ target_ids: [99999] }, 'target 99999 not found'],
    ]) {
      const r = await d.request('PATCH', '/api/targets/reorder', body, admin);
      assert.deepEqual([r.status, r.json.detail], [400, detail]);
    }
    const v = await d.request('PATCH', '/api/targets/reorder', { target_ids: [1] }, visitor);
    assert.deepEqual([v.status, v.json.detail], [403, 'admin token required']);
  });

  test('the dashboard counts', async () => {
    const board = await d.api('GET', '/api/dashboard');
    const { items } = await d.api('GET', '/api/targets?history=0');
    assert.equal(board.total_targets, items.length);
    assert.equal(board.enabled_targets, items.filter((i) => i.enabled).length);
    assert.equal(board.degraded, items.filter((i) => i.last_status === 'degraded').length);
    assert.equal(board.never_run, items.filter((i) => i.last_status === null).length);
  });

  test('a list of many channels with long histories streams whole', async () => {
    const big = await startDaemon();
    try {
      const items = Array.from({ length: 300 }, (_, i) => ({ name: `c${i}`, base_url: 'https://relay.example', api_key: 'k', enabled: false, prompt: 'p'.repeat(900) }));
      await big.api('POST', '/api/targets/bulk', { action: 'create', items });
      const r = await big.request('GET', '/api/targets', undefined, admin);
      assert.ok(r.text.length > 300 * 900);
      assert.equal(r.json.items.length, 300);
      assert.ok(r.text.endsWith('}\n'));
    } finally {
      await big.stop();
    }
  });
});

describe('live', () => {
  test('changes are told', async () => {
    const events = await openEvents(d.url, '/api/events', admin);
    try {
      await events.waitFor('connected');
      const told = (action, id) => events.waitFor('target_updated', (e) => { const o = JSON.parse(e.data); return o.action === action && o.target_id === id; });
      const t = await create({ enabled: false });
      await told('created', t.id);
      await d.api('PATCH', `/api/targets/${t.id}`, { tags: ['x'] });
      await told('updated', t.id);
      await d.api('PATCH', `/api/targets/${t.id}/models`, { selected_models: ['gpt-4o'] });
      await told('models_updated', t.id);
      await d.api('PATCH', '/api/targets/reorder', { target_ids: [t.id] });
      await told('reordered', 0);
      await d.api('POST', `/api/targets/${t.id}/run`);
      const done = await events.waitFor('run_completed', (e) => JSON.parse(e.data).target_id === t.id);
      const data = JSON.parse(done.data);
      assert.deepEqual([data.target_name, data.status, data.total, data.success, data.fail], [t.name, 'healthy', 1, 1, 0]);
      await d.api('DELETE', `/api/targets/${t.id}`);
      await told('deleted', t.id);
    } finally {
      await events.close();
    }
  });
});

describe('visitors', () => {
  test('see masks and base names, and run where the switch is on', async () => {
    const t = await create({ enabled: false });
    await run(t.id);
    const list = await d.request('GET', '/api/targets', undefined, visitor);
    assert.equal(list.json.permissions.role, 'visitor');
    assert.ok(!list.text.includes(KEY));
    const seen = list.json.items.find((i) => i.id === t.id);
    assert.equal(seen.can_operate, false);
    assert.match(seen.last_log_file, /^target_\d+_\d{8}_\d{6}.*\.jsonl$/);
    assert.ok(!list.text.includes(d.dataDir));
    const runs = await d.request('GET', `/api/targets/${t.id}/runs`, undefined, visitor);
    assert.ok(!runs.text.includes(d.dataDir));
    const refused = await d.request('POST', `/api/targets/${t.id}/run`, undefined, visitor);
    assert.deepEqual([refused.status, refused.json.detail], [403, 'channel operations are disabled for visitor token']);
    await d.api('PATCH', `/api/targets/${t.id}`, { visitor_channel_actions_enabled: true });
    assert.equal((await d.request('POST', `/api/targets/${t.id}/run`, undefined, visitor)).status, 200);
    await finished(t.id);
    assert.equal((await d.request('DELETE', `/api/targets/${t.id}`, undefined, visitor)).status, 403);
    assert.equal((await d.request('PATCH', `/api/targets/${t.id}`, { tags: [] }, visitor)).status, 403);
  });

  test('create only where it is switched on, six fields, nothing private', async () => {
    const off = await d.request('POST', '/api/targets', fresh(), visitor);
    assert.deepEqual([off.status, off.json.detail], [403, 'creating channels is disabled for visitor token']);
    const open = await startDaemon({ env: { API_MONITOR_TOKEN_VISITOR: VISITOR, GATEHOUSE_VISITOR_MODE: 'true', GATEHOUSE_VISITOR_CREATE: 'true' } });
    try {
      const body = { name: 'v', base_url: 'https://relay.example', api_key: KEY, source_url: 'https://x.example', interval_min: 60, timeout_s: 10 };
      const more = await open.request('POST', '/api/targets', { ...body, visitor_channel_actions_enabled: true }, visitor);
      assert.deepEqual([more.status, more.json.field], [403, 'visitor_channel_actions_enabled']);
      for (const base_url of ['http://127.0.0.1:3000', 'http://10.0.0.1', 'http://localhost', 'http://2130706433/'])
        assert.equal((await open.request('POST', '/api/targets', { ...body, base_url }, visitor)).status, 400, base_url);
      const ok = await open.request('POST', '/api/targets', body, visitor);
      assert.equal(ok.status, 200);
      assert.equal(ok.json.item.api_key, '****6789');
    } finally {
      await open.stop();
    }
  });
});
