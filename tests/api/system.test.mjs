// The house itself: liveness, readiness, metrics, the ledger's counters, resources, and the document of
// the API held against what is really served.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, login, request, parseMetrics, until, root, ADMIN_TOKEN } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
let d, doc;
before(async () => {
  d = await startDaemon();
  doc = (await d.request('GET', '/openapi.json')).json;
});
after(() => d?.stop());
const metrics = async () => parseMetrics((await d.request('GET', '/metrics', undefined, admin)).text);

test('liveness and readiness', async () => {
  const api = await d.request('GET', '/api/health');
  assert.equal(api.status, 200);
  assert.equal(api.headers.get('content-type'), 'application/json');
  assert.ok(api.text.endsWith('}\n'));
  assert.equal(api.json.ok, true);
  assert.deepEqual(api.json.running_targets, []);
  assert.equal(api.json.store, 'ok');
  assert.match(api.json.version, /^\d+\.\d+\.\d+/);
  assert.deepEqual((await d.request('GET', '/health')).json, { status: 'ok', database: 'ok' });
  assert.deepEqual((await d.request('GET', '/ready')).json, { status: 'ready' });
});

test('metrics: the format, the families, and they move', async () => {
  const r = await d.request('GET', '/metrics', undefined, admin);
  assert.match(r.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  const { samples, types } = parseMetrics(r.text);
  for (const name of types.keys()) assert.match(name, /^(gatehouse|process)_/);
  for (const [name, type] of types) if (type === 'counter') assert.match(name, /_total$/, name);
  for (const [name, type] of types) {
    if (type !== 'histogram') continue;
    const buckets = [...samples].filter(([k]) => k.startsWith(`${name}_bucket`)).map(([, v]) => v);
    assert.ok(buckets.length > 2 && buckets.every((v, i) => i === 0 || v >= buckets[i - 1]), name);
    assert.ok(samples.has(`${name}_bucket{le="+Inf"}`), name);
    assert.equal(samples.get(`${name}_bucket{le="+Inf"}`), samples.get(`${name}_count`));
  }
  const before = samples.get('gatehouse_http_requests_total{class="4xx"}');
  for (let i = 0; i < 5; i++) await d.request('GET', '/nowhere');
  await d.request('GET', '/api/targets', undefined, { authorization: 'Bearer wrong' });
  const now = (await metrics()).samples;
  assert.ok(now.get('gatehouse_http_requests_total{class="4xx"}') >= before + 6);
  assert.ok(now.get('gatehouse_auth_failures_total{scope="bearer"}') >= 1);
  assert.ok(now.get('gatehouse_http_connections') >= 1);
  const generation = now.get('gatehouse_catalog_generation');
  await d.api('PATCH', '/api/admin/settings', { liquid_glass_enabled: true });
  assert.ok((await metrics()).samples.get('gatehouse_catalog_generation') > generation);
});

test('metrics are the admin’s, and hold no text of clients', async () => {
  assert.equal((await d.request('GET', '/metrics')).status, 401);
  await d.request('GET', '/planted-path-of-a-client?q=planted-query', undefined, { 'user-agent': 'planted-agent' });
  assert.doesNotMatch((await d.request('GET', '/metrics', undefined, admin)).text, /planted/);
});

test('the ledger’s counters', async () => {
  const l = await d.api('GET', '/api/ledger');
  for (const key of ['seq_assigned', 'seq_committed', 'dropped_total', 'spool_bytes', 'replayed_total', 'duplicates_total']) assert.ok(Number.isInteger(l[key]) && l[key] >= 0, key);
  assert.ok(l.seq_committed <= l.seq_assigned);
  assert.equal(l.spooling, false);
  assert.equal(l.reason, null);
});

test('resources: the shape of spec 1 section 1.6', async () => {
  const r = await d.api('GET', '/api/admin/resources');
  assert.ok(Math.abs(r.sample_time_ms - Date.now()) < 60000);
  const c = r.container;
  assert.equal(typeof c.available, 'boolean');
  assert.ok([0, 1, 2].includes(c.cgroup_version));
  assert.ok(c.cpu_usage_seconds_total >= 0 && c.memory_usage_bytes >= 0);
  for (const key of ['cpu_limit_cores', 'memory_limit_bytes']) assert.ok(c[key] === null || c[key] > 0, key);
  if (!c.available) assert.ok(c.detail);
  assert.ok(r.process.rss_bytes > 1 << 20 && r.process.open_files > 5 && r.process.database_bytes > 0 && r.process.cpu_seconds_total > 0);
});

test('errors of the server itself have the shape of the API', async () => {
  const r = await d.request('POST', '/api/admin/login', 'x'.repeat((1 << 20) + 1));
  assert.equal(r.status, 413);
  assert.equal(r.headers.get('content-type'), 'application/json');
  assert.ok(r.json.detail);
});

// ---- the document ----

const operations = () => Object.entries(doc.paths).flatMap(([path, ops]) => Object.entries(ops).map(([method, op]) => ({ path, method, op })));

test('openapi: 3.1, complete, and every reference resolves', () => {
  assert.match(doc.openapi, /^3\.1\.\d$/);
  assert.ok(doc.info.title && doc.info.version);
  const resolve = (ref) => ref.slice(2).split('/').reduce((o, k) => o?.[k.replaceAll('~1', '/').replaceAll('~0', '~')], doc);
  let refs = 0;
  const walk = (v, where) => {
    if (v === null || typeof v !== 'object') return;
    if (typeof v.$ref === 'string') {
      refs++;
      assert.match(v.$ref, /^#\//, where);
      assert.ok(resolve(v.$ref), `${where}: ${v.$ref}`);
    }
    for (const [k, x] of Object.entries(v)) walk(x, `${where}/${k}`);
  };
  walk(doc, '#');
  assert.ok(refs > 10);
  const ids = new Set();
  for (const { path, method, op } of operations()) {
    const where = `${method} ${path}`;
    assert.match(path, /^\/[\w./{}-]*$/, where);
    assert.match(method, /^(get|post|put|patch|delete)$/, where);
    assert.ok(op.summary && op.tags?.length === 1, where);
    if (op.operationId) {
      assert.ok(!ids.has(op.operationId), op.operationId);
      ids.add(op.operationId);
    }
    assert.ok(Object.keys(op.responses).some((s) => /^2/.test(s)), where);
    for (const [status, r] of Object.entries(op.responses)) {
      assert.match(status, /^([1-5]\d\d|default)$/, where);
      assert.ok(r.description !== undefined || r.$ref, where);
    }
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]);
    const declared = (op.parameters ?? []).filter((p) => p.in === 'path').map((p) => p.name);
    assert.deepEqual(declared.sort(), inPath.sort(), where);
    for (const p of op.parameters ?? []) {
      assert.ok(p.name && p.schema?.type && ['path', 'query'].includes(p.in), where);
      assert.equal(p.required, p.in === 'path', where);
    }
    assert.equal(new Set((op.parameters ?? []).map((p) => p.in + p.name)).size, (op.parameters ?? []).length, where);
    if (method === 'get' || method === 'delete') assert.equal(op.requestBody, undefined, where);
  }
});

test('openapi: every documented address is served, with its method', async () => {
  const cookie = await login(d);
  for (const { path, method, op } of operations()) {
    const real = path.replace(/\{[^}]+\}/g, '424242');
    if (path === '/api/events') continue; // tested with the stream
    const r = await request(d.url, method.toUpperCase(), real, method === 'get' || method === 'delete' ? undefined : '{"no_such_field":1}', real === '/api/admin/logout' ? { cookie } : admin);
    assert.ok(![405, 500, 501].includes(r.status), `${method} ${path}: ${r.status} ${r.text.slice(0, 200)}`);
    if (r.status === 404) assert.ok(r.json?.detail && r.json.detail !== 'no such route', `${method} ${path}: ${r.text}`);
    if (r.status >= 400) assert.ok(typeof r.json?.detail === 'string', `${method} ${path}: ${r.text}`);
    if (r.status !== 204) {
      const documented = Object.keys(op.responses);
      assert.ok(documented.includes(String(r.status)) || documented.includes('default') || (r.status >= 400 && r.status < 500), `${method} ${path}: ${r.status} is not among ${documented}`);
    }
  }
});

test('openapi: every row of the route table is in it', () => {
  const served = [];
  for (const f of readdirSync(join(root, 'src/api')).filter((n) => /^api_\w+\.c$/.test(n))) {
    const text = readFileSync(join(root, 'src/api', f), 'utf8');
    for (const m of text.matchAll(/\{\s*HTTP_(\w+?)_,\s*"([^"]+)",([^,]+),([^,]+),/g)) if (!/HIDDEN/.test(m[4])) served.push(`${m[1].toLowerCase()} ${m[2]}`);
  }
  assert.ok(served.length > 25, `${served.length}`);
  const documented = new Set(operations().map(({ path, method }) => `${method} ${path}`));
  for (const row of served) assert.ok(documented.has(row), row);
  assert.equal(documented.size, new Set(served).size);
});

test('openapi: bodies of the two open POSTs fit what they document', async () => {
  const op = doc.paths['/api/admin/login'].post;
  const schema = op.requestBody.content['application/json'].schema;
  assert.deepEqual(schema.required, ['password']);
  assert.ok(op.responses['401'] && op.responses['429']);
});

test('log lines stay lines, whatever clients send', async () => {
  const own = await startDaemon({ env: { GATEHOUSE_LOG_LEVEL: 'debug' } });
  await request(own.url, 'POST', '/api/admin/login', { password: 'x\r\n2026 error [app] planted \u001b[31m' });
  await request(own.url, 'GET', '/%0a%1b[31mplanted', undefined, { 'user-agent': 'a\tb' });
  await request(own.url, 'POST', '/api/targets', { name: 'a\nb\u001b[31m', base_url: 'http://x/\u0000', api_key: 'x' }, admin);
  await until(() => /login refused/.test(own.log), 'the refusal in the log');
  await own.stop();
  for (const line of own.log.trimEnd().split('\n')) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warn|error) \[\w+\] [^\x00-\x1f\x7f]+$/, JSON.stringify(line));
  assert.doesNotMatch(own.log, /planted/);
});

test('log.format=json: every line is an object', async () => {
  const own = await startDaemon({ env: { GATEHOUSE_LOG_FORMAT: 'json', GATEHOUSE_LOG_LEVEL: 'debug' } });
  await request(own.url, 'POST', '/api/admin/login', { password: 'x' });
  await until(() => /login refused/.test(own.log), 'the refusal in the log');
  await own.stop();
  for (const line of own.log.trimEnd().split('\n')) assert.ok(JSON.parse(line).level, line);
});
