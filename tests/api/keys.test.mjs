// Keys of the gateway's clients (spec 1 section 1.7): made, listed, changed, revoked; the token is seen once.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, tempDir, login, sql, ADMIN_TOKEN } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const dataDir = tempDir();
let d, target;
before(async () => {
  d = await startDaemon({ dataDir });
  target = (await d.api('POST', '/api/targets', { name: 'relay-a', base_url: 'http://127.0.0.1:59999/v1', api_key: 'sk-upstream' })).item.id;
});
after(async () => {
  await d?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});
const create = (body) => d.request('POST', '/api/proxy/keys', body, admin);
const list = async () => (await d.api('GET', '/api/proxy/keys')).items;

test('starts with none', async () => assert.deepEqual(await list(), []));

test('a key: its shape, its token once, the hash alone is kept', async () => {
  const r = await create({ name: ' bob ', allowed_target_ids: [target, target], allowed_models: ['relay-a/gpt-4o', ' relay-a/gpt-4o ', 'relay-a/a'], description: ' for tests ' });
  assert.equal(r.status, 200, r.text);
  assert.equal(r.headers.get('cache-control'), 'no-store');
  const { item, proxy_key } = r.json;
  assert.match(proxy_key, /^sk-[A-Za-z0-9]{36}$/);
  assert.ok(Math.abs(item.created_at - Date.now() / 1000) < 60);
  assert.deepEqual(item, { id: item.id, name: 'bob', key_prefix: proxy_key.slice(0, 12), allowed_target_ids: [target], allowed_models: ['relay-a/a', 'relay-a/gpt-4o'], description: 'for tests', enabled: true, created_at: item.created_at, revoked_at: null, last_used_at: null, last_used_target_id: null });
  assert.deepEqual(await list(), [item]);
  const [[row]] = sql(join(dataDir, 'gatehouse.db'), `SELECT * FROM proxy_keys WHERE id = ${item.id}`);
  assert.ok(JSON.stringify(row).includes(createHash('sha256').update(proxy_key).digest('hex')), 'old hashes are compatible: SHA-256 in hex');
  for (const name of ['gatehouse.db', 'gatehouse.db-wal']) assert.ok(!readFileSync(join(dataDir, name), 'latin1').includes(proxy_key.slice(3)));
  assert.ok(!d.log.includes(proxy_key));
});

test('newest first; the smallest key is unrestricted', async () => {
  const r = await create({ name: 'x' });
  assert.equal(r.status, 200);
  assert.deepEqual([r.json.item.allowed_target_ids, r.json.item.allowed_models, r.json.item.description], [[], [], '']);
  const items = await list();
  assert.equal(items[0].id, r.json.item.id);
  assert.ok(items[0].id > items[1].id);
  const longest = await create({ name: '日'.repeat(128), description: 'é'.repeat(512) });
  assert.equal(longest.status, 200, longest.text);
});

const bad = [
  ['name must be 1-128 chars', {}], ['name must be 1-128 chars', { name: '' }], ['name must be 1-128 chars', { name: '  ' }], ['name must be 1-128 chars', { name: 'x'.repeat(129) }], [/name/, { name: 5 }], [/name/, { name: null }], [/name|invalid JSON/, { name: 'a\u0000b' }], [/name/, { name: 'a\u0001b' }],
  ['description must be <= 512 chars', { name: 'x', description: 'x'.repeat(513) }], [/description/, { name: 'x', description: 5 }],
  ['allowed_models must use channel/model format', { name: 'x', allowed_models: ['gpt-4o'] }], ['allowed_models must use channel/model format', { name: 'x', allowed_models: ['/gpt-4o'] }], ['allowed_models must use channel/model format', { name: 'x', allowed_models: ['relay-a/'] }],
  [/allowed_models/, { name: 'x', allowed_models: 'relay-a/gpt-4o' }], [/allowed_models/, { name: 'x', allowed_models: [5] }],
  [/^target id 424242 not found$/, { name: 'x', allowed_target_ids: [424242] }], [/allowed_target_ids|target id/, { name: 'x', allowed_target_ids: [0] }], [/allowed_target_ids|target id/, { name: 'x', allowed_target_ids: [-1] }], [/allowed_target_ids|target id/, { name: 'x', allowed_target_ids: [1.5] }],
  [/allowed_target_ids|target id/, { name: 'x', allowed_target_ids: ['1'] }], [/allowed_target_ids|target id/, { name: 'x', allowed_target_ids: 1 }], [/allowed_target_ids|target id/, { name: 'x', allowed_target_ids: [1e30] }],
  [/unknown/, { name: 'x', allowed_target_idss: [1] }], [/invalid JSON/, '[]'], [/invalid JSON/, '{"name":'], [/invalid JSON/, '{"name":"x","name":"y"}'], [/invalid JSON/, ''],
];
test('what a key may not be: 400 with the reason, nothing is made', async () => {
  const was = await list();
  for (const [text, body] of bad) {
    const r = await create(body);
    assert.equal(r.status, 400, `${JSON.stringify(body).slice(0, 80)}: ${r.text}`);
    if (text instanceof RegExp) assert.match(r.json.detail, text, JSON.stringify(body).slice(0, 80));
    else assert.equal(r.json.detail, text);
  }
  assert.deepEqual(await list(), was);
});

test('revoking: once, kept in the list', async () => {
  const { item } = (await create({ name: 'short-lived' })).json;
  assert.deepEqual(await d.api('DELETE', `/api/proxy/keys/${item.id}`), { ok: true });
  const now = (await list()).find((i) => i.id === item.id);
  assert.equal(now.enabled, false);
  assert.ok(now.revoked_at >= item.created_at);
  for (const id of [item.id, 999999]) assert.deepEqual(await d.api('DELETE', `/api/proxy/keys/${id}`, undefined, 404), { detail: 'proxy key not found or already revoked' });
  for (const id of ['0', '-1', 'x', '1.5', '99999999999999999999', '1e3', '%31%00']) {
    const r = await d.request('DELETE', `/api/proxy/keys/${id}`, undefined, admin);
    assert.equal(r.status, 400, id);
    if (!id.includes('%')) assert.deepEqual(r.json, { detail: 'invalid id' });
  }
});

const patch = (id, body) => d.request('PATCH', `/api/proxy/keys/${id}`, body, admin);

test('a change: only what is given, the token stays', async () => {
  const made = (await create({ name: 'before', allowed_target_ids: [target], allowed_models: ['relay-a/m'], description: 'old' })).json.item;
  let want = { ...made };
  for (const body of [{}, { name: ' after ' }, { description: '' }, { allowed_models: ['b/y', 'a/x', 'b/y'] }, { allowed_target_ids: [] }, { allowed_target_ids: [target], enabled: false }, { enabled: true, allowed_models: [], description: 'new' }, { name: null, description: null, allowed_target_ids: null, allowed_models: null, enabled: null }]) {
    for (const [k, v] of Object.entries(body)) if (v !== null) want = { ...want, [k]: typeof v === 'string' ? v.trim() : Array.isArray(v) ? [...new Set(v)].sort() : v };
    const r = await patch(made.id, body);
    assert.equal(r.status, 200, r.text);
    assert.deepEqual(r.json, { item: want });
    assert.deepEqual((await list()).find((i) => i.id === made.id), want);
  }
  const [[hash]] = sql(join(dataDir, 'gatehouse.db'), `SELECT key_prefix, name, enabled, allowed_channels FROM proxy_keys WHERE id = ${made.id}`);
  assert.deepEqual(hash, [made.key_prefix, 'after', 1, `[${target}]`]);
});

test('what a change may not be: 400 with the reason, nothing is changed', async () => {
  const { item } = (await create({ name: 'firm', allowed_target_ids: [target] })).json;
  const was = await list();
  for (const [text, body] of [...bad.filter(([, b]) => typeof b === 'string' || Object.keys(b).length > 0).map(([t, b]) => [t, typeof b === 'string' || 'x' !== b.name ? b : { ...b, enabled: false }]), [/^enabled must be a boolean$/, { enabled: 1 }], [/^enabled must be a boolean$/, { name: 'y', enabled: 'true' }], [/unknown/, { id: 5 }], [/unknown/, { key_prefix: 'sk-' }], [/unknown/, { revoked_at: null }]]) {
    if (typeof body === 'object' && body.name === null) continue; // stays as it is
    const r = await patch(item.id, body);
    assert.equal(r.status, 400, `${JSON.stringify(body).slice(0, 80)}: ${r.text}`);
    if (text instanceof RegExp) assert.match(r.json.detail, text, JSON.stringify(body).slice(0, 80));
    else assert.equal(r.json.detail, text);
  }
  assert.deepEqual(await list(), was);
});

test('a key outlives a channel it names, and can be changed then; a revoked or unknown one cannot', async () => {
  const gone = (await d.api('POST', '/api/targets', { name: 'gone', base_url: 'http://127.0.0.1:59999/v1', api_key: 'sk-u' })).item.id;
  const { item } = (await create({ name: 'outlives', allowed_target_ids: [target, gone] })).json;
  await d.api('DELETE', `/api/targets/${gone}`);
  assert.equal((await patch(item.id, { name: 'outlived', allowed_target_ids: [gone] })).status, 200);
  assert.deepEqual((await patch(item.id, { allowed_target_ids: [target] })).json.item.allowed_target_ids, [target]);
  assert.equal((await patch(item.id, { allowed_target_ids: [gone] })).json.detail, `target id ${gone} not found`);
  await d.api('DELETE', `/api/proxy/keys/${item.id}`);
  for (const id of [item.id, 999999]) {
    const r = await patch(id, { enabled: true });
    assert.deepEqual([r.status, r.json], [404, { detail: 'proxy key not found or already revoked' }]);
  }
  for (const id of ['0', 'x', '1.5']) assert.deepEqual((await patch(id, {})).json, { detail: 'invalid id' });
});

test('with a session too; audited; all there after a kill', async () => {
  const cookie = await login(d);
  const r = await d.request('POST', '/api/proxy/keys', { name: 'by session' }, { cookie, origin: d.url });
  assert.equal(r.status, 200, r.text);
  const was = await list();
  const [audit] = sql(join(dataDir, 'gatehouse.db'), "SELECT actor, action FROM audit WHERE action LIKE 'key.%' ORDER BY rowid");
  assert.deepEqual(audit.at(-1), ['admin session', 'key.create']);
  for (const action of ['key.update', 'key.revoke']) assert.ok(audit.some((a) => a[1] === action), action);
  await d.kill();
  d = await startDaemon({ dataDir });
  assert.deepEqual(await list(), was);
});
