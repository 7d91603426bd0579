// Who may do what: roles, tokens, sessions, foreign origins, the guard against guessing, first start, and
// that no secret is found where none belongs.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, runBinary, request, raw, answers, login, tempDir, until, openEvents, sql, ADMIN_TOKEN, ADMIN_PASSWORD, isSanitized } from '../harness.mjs';

const bearer = (token) => ({ authorization: `Bearer ${token}` });
const VISITOR = 'visitor-token-0123456789';

// Every byte below a directory, and what a process has said.
function bytesOf(dir) {
  return readdirSync(dir, { withFileTypes: true }).map((e) => {
    const path = join(dir, e.name);
    if (e.isDirectory()) return bytesOf(path);
    return e.isFile() ? readFileSync(path, 'latin1') : '';
  }).join('\n');
}

describe('roles', () => {
  let d;
  const routes = async () => {
    const doc = (await d.request('GET', '/openapi.json')).json;
    return Object.entries(doc.paths).flatMap(([path, ops]) => Object.entries(ops).map(([method, op]) => ({ method: method.toUpperCase(), path: path.replace(/\{[^}]+\}/g, '999999'), op })));
  };
  before(async () => { d = await startDaemon({ env: { API_MONITOR_TOKEN_VISITOR: VISITOR, GATEHOUSE_VISITOR_MODE: 'true' } }); });
  after(() => d?.stop());

  test('a route without security is one of the few that are open', async () => {
    const open = new Set(['POST /api/admin/login', 'POST /api/admin/logout', 'GET /api/session', 'GET /api/health', 'GET /health', 'GET /ready', 'GET /openapi.json']);
    for (const { method, path } of await routes()) {
      if (open.has(`${method} ${path}`)) continue;
      const r = await d.request(method, path, method === 'GET' || method === 'DELETE' ? undefined : {});
      assert.equal(r.status, 401, `${method} ${path}: ${r.status}`);
      assert.ok(['unauthorized', 'admin login required'].includes(r.json.detail), `${path}: ${r.text}`);
      assert.match(r.headers.get('www-authenticate'), /^Bearer/);
    }
  });

  test('a visitor reads and changes nothing; admin routes are 403', async () => {
    let changes = 0, admin = 0;
    for (const { method, path } of await routes()) {
      if (/^\/api\/(events|admin\/log|session)/.test(path) || path === '/api/events') continue;
      const r = await d.request(method, path, method === 'GET' || method === 'DELETE' ? undefined : {}, bearer(VISITOR));
      if (/^\/(api\/admin|api\/proxy|api\/ledger|metrics)/.test(path)) {
        assert.equal(r.status, 403, `${method} ${path}: ${r.status} ${r.text}`);
        admin++;
      } else if (method !== 'GET') {
        assert.ok([403, 404].includes(r.status), `${method} ${path}: ${r.status} ${r.text}`);
        changes++;
      }
    }
    assert.ok(admin >= 10 && changes >= 5, `${admin} ${changes}`);
    assert.equal((await d.request('GET', '/api/targets', undefined, bearer(VISITOR))).json.permissions.role, 'visitor');
  });

  test('a session says who it is', async () => {
    assert.equal((await d.request('GET', '/api/session')).json.role, 'anonymous');
    assert.equal((await d.request('GET', '/api/session', undefined, bearer(VISITOR))).json.role, 'visitor');
    assert.equal((await d.request('GET', '/api/session', undefined, bearer(ADMIN_TOKEN))).json.role, 'admin');
    const cookie = await login(d);
    const r = (await d.request('GET', '/api/session', undefined, { cookie })).json;
    assert.deepEqual([r.role, r.by], ['admin', 'session']);
  });

  test('credentials in every wrong form', async () => {
    for (const value of ['', 'Bearer', 'Bearer ', `bearer ${ADMIN_TOKEN}`, ADMIN_TOKEN, `Basic ${Buffer.from(`admin:${ADMIN_TOKEN}`).toString('base64')}`, `Bearer ${ADMIN_TOKEN}x`, `Bearer ${ADMIN_TOKEN.slice(0, -1)}`, `Bearer ${ADMIN_TOKEN} `.padEnd(3000, 'x'), `Bearer  ${ADMIN_TOKEN}`, `Bearer ${ADMIN_TOKEN.toUpperCase()}`]) {
      const [a] = answers(await raw(d.port, `GET /api/targets HTTP/1.1\r\nHost: a\r\nAuthorization: ${value}\r\nConnection: close\r\n\r\n`));
      assert.equal(a.status, 401, JSON.stringify(value.slice(0, 60)));
    }
  });

  test('a token in the address counts on /api/events alone', async () => {
    for (const path of ['/api/targets', '/api/dashboard', '/api/admin/settings', '/metrics', '/api/ledger', '/api/admin/resources'])
      assert.equal((await d.request('GET', `${path}?token=${ADMIN_TOKEN}`)).status, 401, path);
    const stream = await openEvents(d.url, `/api/events?token=${ADMIN_TOKEN}`);
    assert.equal(stream.status, 200);
    await stream.close();
    assert.equal((await d.request('GET', '/api/events?token=wrong')).status, 401);
    assert.equal((await d.request('GET', '/api/events')).status, 401);
  });
});

describe('visitor mode', () => {
  const role = async (d, headers) => {
    const r = await d.request('GET', '/api/targets', undefined, headers);
    return r.status === 200 ? r.json.permissions.role : r.status;
  };
  for (const [name, env, anonymous, token, wrong] of [
    ['off, without token', {}, 401, 401, 401],
    ['off, with a token', { API_MONITOR_TOKEN_VISITOR: VISITOR }, 401, 401, 401],
    ['on, without token', { GATEHOUSE_VISITOR_MODE: 'true' }, 'visitor', 401, 401],
    ['on, with a token', { GATEHOUSE_VISITOR_MODE: 'true', API_MONITOR_TOKEN_VISITOR: VISITOR }, 401, 'visitor', 401],
    ['on, with an empty token', { GATEHOUSE_VISITOR_MODE: 'true', API_MONITOR_TOKEN_VISITOR: '' }, 'visitor', 401, 401],
  ]) {
    test(name, async () => {
      const d = await startDaemon({ env });
      assert.equal(await role(d, {}), anonymous);
      assert.equal(await role(d, bearer(VISITOR)), token);
      assert.equal(await role(d, bearer('something else')), wrong);
      assert.equal(await role(d, bearer(ADMIN_TOKEN)), 'admin');
      await d.stop();
    });
  }

  test('is switched from the page at once, and kept', async () => {
    const dataDir = tempDir();
    let d = await startDaemon({ dataDir });
    assert.equal(await role(d, {}), 401);
    await d.api('PATCH', '/api/admin/settings', { visitor_mode_enabled: true });
    assert.equal(await role(d, {}), 'visitor');
    await d.api('PATCH', '/api/admin/settings', { api_monitor_token_visitor: VISITOR });
    assert.equal(await role(d, {}), 401);
    assert.equal(await role(d, bearer(VISITOR)), 'visitor');
    await d.stop();
    d = await startDaemon({ dataDir });
    assert.equal(await role(d, bearer(VISITOR)), 'visitor');
    await d.api('PATCH', '/api/admin/settings', { visitor_mode_enabled: false });
    assert.equal(await role(d, bearer(VISITOR)), 401);
    await d.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });
});

describe('sessions', () => {
  let d;
  before(async () => { d = await startDaemon(); });
  after(() => d?.stop());
  const open = async (cookie) => (await d.request('GET', '/api/admin/settings', undefined, { cookie })).status === 200;

  test('either secret opens one, with blanks around it, nothing else does', async () => {
    for (const password of [ADMIN_PASSWORD, ADMIN_TOKEN, `  ${ADMIN_PASSWORD}\n`]) assert.ok(await open(await login(d, password)));
    for (const body of [{}, { password: '' }, { password: 'x' }, { password: ADMIN_PASSWORD.toUpperCase() }]) {
      const r = await d.request('POST', '/api/admin/login', body);
      assert.equal(r.status, 401);
      assert.deepEqual(r.json, { detail: 'invalid password' });
      assert.equal(r.headers.get('set-cookie'), null);
    }
    const r = await d.request('POST', '/api/admin/login', { password: 7 });
    assert.equal(r.status, 400);
    assert.match(r.json.detail, /password/);
    assert.match((await d.request('POST', '/api/admin/login', 'nonsense')).json.detail, /^invalid JSON/);
  });

  test('the cookie: new each time, HttpOnly, SameSite, not Secure over clear text', async () => {
    const fixed = `api_monitor_admin_session=${'a'.repeat(64)}`;
    const r = await request(d.url, 'POST', '/api/admin/login', { password: ADMIN_PASSWORD }, { cookie: fixed });
    assert.match(r.headers.get('set-cookie'), /^api_monitor_admin_session=[0-9a-f]{64}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Strict$/);
    assert.ok(!(await open(fixed)), 'a cookie the client chose is no session');
    assert.notEqual(await login(d), await login(d));
    for (const cookie of ['api_monitor_admin_session=', `api_monitor_admin_session=${'0'.repeat(64)}`, 'api_monitor_admin_session=x', `other=1; api_monitor_admin_session=${'f'.repeat(63)}`]) assert.ok(!(await open(cookie)));
  });

  test('it serves the dashboard too, and ends at logout', async () => {
    const cookie = await login(d);
    assert.equal((await d.request('GET', '/api/targets', undefined, { cookie })).json.permissions.role, 'admin');
    assert.equal((await d.request('GET', '/api/targets', undefined, { cookie: `a=b; ${cookie}; c=d` })).status, 200);
    const r = await d.request('POST', '/api/admin/logout', undefined, { cookie });
    assert.deepEqual(r.json, { ok: true });
    assert.match(r.headers.get('set-cookie'), /^api_monitor_admin_session=; Path=\/; Max-Age=0/);
    assert.ok(!(await open(cookie)));
    assert.equal((await d.request('POST', '/api/admin/logout')).status, 200, 'without a session too');
  });

  test('they are listed, and all others can be ended', async () => {
    await d.api('DELETE', '/api/admin/sessions');
    const [a, b] = [await login(d, ADMIN_PASSWORD, { 'user-agent': 'first' }), await login(d, ADMIN_PASSWORD, { 'user-agent': '<b>second</b>' })];
    const { items } = (await d.request('GET', '/api/admin/sessions', undefined, { cookie: b })).json;
    assert.equal(items.length, 2);
    const own = items.find((i) => i.current);
    assert.equal(own.user_agent, '<b>second</b>');
    assert.equal(own.address, '127.0.0.1');
    for (const cookie of [a, b]) assert.ok(!JSON.stringify(items).includes(cookie.split('=')[1]), 'no token in the list');
    assert.equal((await d.request('DELETE', '/api/admin/sessions', undefined, { cookie: b })).status, 200);
    assert.ok(!(await open(a)));
    assert.ok(await open(b));
  });

  test('a restart ends none, a changed password all but the caller’s', async () => {
    const dataDir = tempDir();
    let own = await startDaemon({ dataDir, env: { ADMIN_PANEL_PASSWORD: '' } });
    await own.api('PATCH', '/api/admin/settings', { admin_panel_password: 'first password' });
    const one = await login(own, 'first password');
    const two = await login(own, 'first password');
    await own.stop();
    own = await startDaemon({ dataDir, env: { ADMIN_PANEL_PASSWORD: '' } });
    const settings = (cookie) => own.request('GET', '/api/admin/settings', undefined, { cookie });
    assert.equal((await settings(one)).status, 200);
    const r = await own.request('PATCH', '/api/admin/settings', { admin_panel_password: 'second password' }, { cookie: one, origin: own.url });
    assert.equal(r.status, 200, r.text);
    assert.equal((await settings(one)).status, 200);
    assert.equal((await settings(two)).status, 401);
    assert.equal((await own.request('POST', '/api/admin/login', { password: 'first password' })).status, 401);
    await login(own, 'second password');
    await own.kill();
    own = await startDaemon({ dataDir, env: { ADMIN_PANEL_PASSWORD: '' } });
    assert.equal((await settings(two)).status, 401, 'not after a kill either');
    await own.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  test('12 hours idle and 7 days in all end one', async () => {
    const dataDir = tempDir();
    let own = await startDaemon({ dataDir });
    const cookies = [await login(own), await login(own), await login(own)];
    await own.stop();
    const hour = 3600e3;
    const rows = sql(join(dataDir, 'gatehouse.db'), 'SELECT token_hash FROM sessions')[0].map((r) => `token_hash = x'${r[0]}'`);
    assert.equal(rows.length, 3);
    const now = Date.now();
    sql(join(dataDir, 'gatehouse.db'),
      `UPDATE sessions SET seen_utc_ms = ${now - 12 * hour - 1000} WHERE ${rows[0]}`,
      `UPDATE sessions SET created_utc_ms = ${now - 168 * hour - 1000} WHERE ${rows[1]}`,
      `UPDATE sessions SET seen_utc_ms = ${now - 11 * hour}, created_utc_ms = ${now - 160 * hour} WHERE ${rows[2]}`);
    own = await startDaemon({ dataDir });
    const statuses = [];
    for (const cookie of cookies) statuses.push((await own.request('GET', '/api/admin/settings', undefined, { cookie })).status);
    assert.deepEqual(statuses.sort(), [200, 401, 401]);
    await own.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });
});

describe('requests of foreign pages', () => {
  let d, cookie;
  before(async () => { d = await startDaemon(); cookie = await login(d); });
  after(() => d?.stop());
  const patch = (headers, body = '{"liquid_glass_enabled":true}') => request(d.url, 'PATCH', '/api/admin/settings', body, { cookie, ...headers });

  test('a write with a session needs its own origin and JSON', async () => {
    for (const headers of [{ origin: 'http://evil.example' }, { origin: 'null' }, { origin: d.url.replace('127.0.0.1', 'localhost') }, { origin: d.url + '0' }, { origin: '' }, { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { origin: `${d.url}.evil.example` },
      { 'content-type': 'text/plain' }, { 'content-type': 'application/x-www-form-urlencoded' }, { 'content-type': 'multipart/form-data; boundary=x' }, { 'content-type': '' }]) {
      const r = await patch(headers);
      assert.equal(r.status, 403, JSON.stringify(headers));
      assert.ok(r.json.detail);
    }
    assert.equal((await d.api('GET', '/api/admin/settings')).item.liquid_glass_enabled, false);
    for (const headers of [{}, { origin: d.url }, { 'sec-fetch-site': 'same-origin' }, { 'content-type': 'application/json; charset=utf-8' }]) assert.equal((await patch(headers)).status, 200, JSON.stringify(headers));
  });

  test('DELETE and POST without body too; GET is free', async () => {
    const evil = { cookie, origin: 'http://evil.example' };
    assert.equal((await request(d.url, 'DELETE', '/api/admin/sessions', undefined, evil)).status, 403);
    assert.equal((await request(d.url, 'POST', '/api/admin/logout', undefined, evil)).status, 403);
    assert.equal((await request(d.url, 'DELETE', '/api/proxy/keys/1', undefined, evil)).status, 403);
    assert.equal((await request(d.url, 'GET', '/api/admin/settings', undefined, evil)).status, 200);
  });

  test('login wants JSON of its own origin as well, so that nobody is signed in unawares', async () => {
    const body = JSON.stringify({ password: ADMIN_PASSWORD });
    for (const headers of [{ 'content-type': 'text/plain' }, { origin: 'http://evil.example' }]) {
      const r = await request(d.url, 'POST', '/api/admin/login', body, headers);
      assert.equal(r.status, 403);
      assert.equal(r.headers.get('set-cookie'), null);
    }
  });

  test('a bearer needs neither', async () => {
    const r = await request(d.url, 'PATCH', '/api/admin/settings', '{"liquid_glass_enabled":false}', { ...bearer(ADMIN_TOKEN), 'content-type': 'application/x-www-form-urlencoded', origin: 'http://evil.example' });
    assert.equal(r.status, 200);
  });

  test('a wrong bearer beside a good session is refused', async () => {
    assert.equal((await d.request('GET', '/api/admin/settings', undefined, { cookie, ...bearer('wrong') })).status, 401);
    assert.equal((await d.request('GET', '/api/admin/settings', undefined, { cookie, authorization: 'bearer' })).status, 401);
  });

  test('credentials of another scheme, for a proxy in front, hide no session and stay under its rules', async () => {
    for (const authorization of [`Basic ${Buffer.from('me:secret').toString('base64')}`, 'Digest username="me"', 'Negotiate', 'Bearerx y']) {
      assert.equal((await d.request('GET', '/api/admin/settings', undefined, { cookie, authorization })).status, 200, authorization);
      assert.equal((await d.request('PATCH', '/api/admin/settings', {}, { cookie, authorization, origin: 'http://evil.example' })).status, 403, authorization);
    }
  });
});

describe('guessing', () => {
  const guess = (d, headers) => d.request('POST', '/api/admin/login', { password: 'wrong' }, headers);

  test('8 wrong passwords block the login of that address, whatever it claims to be', async () => {
    const d = await startDaemon();
    for (let i = 0; i < 8; i++) assert.equal((await guess(d, { 'x-forwarded-for': `203.0.113.${i}`, 'cf-connecting-ip': `203.0.113.${i}` })).status, 401);
    const r = await guess(d, { 'x-forwarded-for': '203.0.113.99' });
    assert.equal(r.status, 429);
    assert.deepEqual(r.json, { detail: 'too many failed attempts, please retry later' });
    const wait = Number(r.headers.get('retry-after'));
    assert.ok(wait > 1700 && wait <= 1800, `${wait}`);
    assert.equal((await d.request('POST', '/api/admin/login', { password: ADMIN_PASSWORD })).status, 429, 'the right one too');
    assert.equal((await d.request('GET', '/api/targets', undefined, bearer(ADMIN_TOKEN))).status, 200, 'bearers are counted apart');
    await d.stop();
  });

  test('another scheme than Bearer is no guess', async () => {
    const d = await startDaemon();
    for (let i = 0; i < 40; i++) assert.equal((await d.request('GET', '/api/targets', undefined, { authorization: `Basic x${i}` })).status, 401);
    assert.equal((await d.request('GET', '/api/targets', undefined, bearer(ADMIN_TOKEN))).status, 200);
    await d.stop();
  });

  test('a right password in between clears nothing', async () => {
    const d = await startDaemon();
    for (let i = 0; i < 7; i++) await guess(d);
    await login(d);
    assert.equal((await guess(d)).status, 401);
    assert.equal((await guess(d)).status, 429);
    await d.stop();
  });

  test('30 wrong bearers block bearers of that address for 10 minutes; the session goes on', async () => {
    const d = await startDaemon();
    const cookie = await login(d);
    const events = (token) => d.request('GET', `/api/events?token=${token}`);
    for (let i = 0; i < 30; i++) assert.equal((await (i % 2 ? d.request('GET', '/api/targets', undefined, bearer(`x${i}`)) : events(`x${i}`))).status, 401);
    for (const r of [await d.request('GET', '/api/targets', undefined, bearer(ADMIN_TOKEN)), await events(ADMIN_TOKEN), await d.request('GET', '/api/session', undefined, bearer(ADMIN_TOKEN))]) {
      assert.equal(r.status, 429);
      const wait = Number(r.headers.get('retry-after'));
      assert.ok(wait > 500 && wait <= 600, `${wait}`);
    }
    assert.equal((await d.request('GET', '/api/targets', undefined, { cookie })).status, 200);
    assert.equal((await d.request('GET', '/api/targets')).status, 401, 'no credential is no guess');
    await d.stop();
  });

  test('behind a trusted proxy each client is counted by itself', async () => {
    const d = await startDaemon({ env: { GATEHOUSE_TRUSTED_PROXIES: '127.0.0.1' } });
    for (let i = 0; i < 8; i++) await guess(d, { 'x-forwarded-for': '203.0.113.1' });
    assert.equal((await guess(d, { 'x-forwarded-for': '203.0.113.1' })).status, 429);
    assert.equal((await guess(d, { 'x-forwarded-for': '1.1.1.1, 203.0.113.1' })).status, 429);
    assert.equal((await guess(d, { 'x-forwarded-for': '203.0.113.2' })).status, 401);
    for (let i = 0; i < 8; i++) await guess(d, { 'x-forwarded-for': `2001:db8:1:2::${i + 1}` });
    assert.equal((await guess(d, { 'x-forwarded-for': '2001:db8:1:2:ffff::1' })).status, 429, 'a household of IPv6 is one');
    await d.stop();
  });

  test('it costs no memory', async () => {
    const d = await startDaemon({ env: { GATEHOUSE_TRUSTED_PROXIES: '127.0.0.1' } });
    const size = async () => (await d.api('GET', '/api/admin/resources')).process.rss_bytes;
    const before = await size();
    const text = await raw(d.port, Array.from({ length: 5000 }, (_, i) => `GET /api/targets HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.${i >> 8}.${i & 255}.7\r\nAuthorization: Bearer x${i}\r\n${i === 4999 ? 'Connection: close\r\n' : ''}\r\n`).join(''));
    assert.equal(answers(text).length, 5000);
    if (!isSanitized) assert.ok((await size()) - before < 8 << 20);
    await d.stop();
  });
});

describe('first start', () => {
  const secrets = (text) => ({ password: /admin password\s+(\S+)/.exec(text)?.[1], token: /admin token\s+(amtk-[0-9a-f]{32})/.exec(text)?.[1] });

  test('two secrets are made, shown once on the terminal, kept as hashes', async () => {
    const dataDir = tempDir();
    let d = await startDaemon({ dataDir, tokens: false });
    await until(() => secrets(d.out).token, 'the secrets');
    const { password, token } = secrets(d.out);
    assert.match(password, /^[A-Za-z0-9]{20}$/);
    assert.equal((await d.request('GET', '/api/admin/settings', undefined, bearer(token))).status, 200);
    await login(d, password);
    await login(d, token);
    assert.doesNotMatch(d.log, new RegExp(`${password}|${token}`), 'not in the log');
    await d.stop();
    const stored = bytesOf(dataDir);
    assert.ok(stored.length > 1000);
    for (const secret of [password, token, token.slice(5)]) assert.ok(!stored.includes(secret));
    assert.match(stored, /\$argon2id\$/);
    d = await startDaemon({ dataDir, tokens: false });
    await d.request('GET', '/health');
    assert.deepEqual(secrets(d.out), { password: undefined, token: undefined });
    await login(d, password);
    assert.equal((await d.request('GET', '/api/admin/settings', undefined, bearer(token))).status, 200);
    await d.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  test('what the environment gives is not made', async () => {
    let d = await startDaemon({ tokens: false, env: { API_MONITOR_TOKEN_ADMIN: ADMIN_TOKEN } });
    assert.deepEqual(secrets(d.out), { password: undefined, token: undefined });
    await login(d, ADMIN_TOKEN);
    await d.stop();
    d = await startDaemon({ tokens: false, env: { API_MONITOR_TOKEN: ADMIN_TOKEN } });
    await login(d, ADMIN_TOKEN);
    await d.stop();
    d = await startDaemon({ tokens: false, env: { ADMIN_PANEL_PASSWORD: ADMIN_PASSWORD } });
    await until(() => secrets(d.out).token, 'the token');
    assert.equal(secrets(d.out).password, undefined);
    await login(d, ADMIN_PASSWORD);
    await d.stop();
  });
});

test('planted secrets are found nowhere: not stored, logged, shown or in the process’s dump', async () => {
  const dataDir = tempDir();
  const planted = { token: 'amtk-PLANTED-ADMIN-TOKEN-77', password: 'PLANTED-PANEL-PASSWORD', visitor: 'PLANTED-VISITOR-TOKEN', master: 'sk-PLANTED-MASTER-TOKEN', upstream: 'sk-PLANTED-UPSTREAM-KEY-0001' };
  const env = { API_MONITOR_TOKEN_ADMIN: planted.token, ADMIN_PANEL_PASSWORD: planted.password, API_MONITOR_TOKEN_VISITOR: planted.visitor, PROXY_MASTER_TOKEN: planted.master, GATEHOUSE_VISITOR_MODE: 'true', GATEHOUSE_LOG_LEVEL: 'debug' };
  const d = await startDaemon({ dataDir, tokens: false, env });
  const admin = bearer(planted.token);
  const seen = [];
  const ask = async (method, path, body, headers = admin) => {
    const r = await d.request(method, path, body, headers);
    seen.push(`${method} ${path} ${r.text} ${JSON.stringify([...r.headers])}`);
    return r;
  };
  await login(d, planted.password);
  await login(d, planted.token);
  const created = await d.request('POST', '/api/targets', { name: 'planted', base_url: 'http://127.0.0.1:59999/v1', api_key: planted.upstream }, admin);
  assert.equal(created.status, 200, created.text);
  const id = created.json.item.id;
  const visitor = bearer(planted.visitor);
  for (const path of ['/api/targets', `/api/targets/${id}`, '/api/dashboard', `/api/targets/${id}/runs`, `/api/targets/${id}/logs`]) await ask('GET', path, undefined, visitor);
  for (const path of ['/api/admin/settings', '/api/admin/options', '/api/admin/channels', '/api/admin/sessions', '/api/admin/resources', '/metrics', '/openapi.json', '/api/ledger', '/api/proxy/keys', '/api/health', '/api/session', '/']) await ask('GET', path);
  for (const [key, value] of Object.entries({ api_monitor_token_admin: planted.token, proxy_master_token: planted.master })) await ask('PATCH', '/api/admin/settings', { [key]: value });
  await ask('PATCH', '/api/admin/settings', { api_monitor_token_admin: 'another-token-entirely' });
  await d.request('GET', `/api/targets?key=${planted.upstream}`, undefined, bearer(`${planted.token}x`));
  await d.request('POST', '/api/targets', `{"api_key":"${planted.upstream}",`, admin);
  await d.stop();
  const places = { stored: bytesOf(dataDir), log: d.log, output: d.out, answers: seen.join('\n') };
  for (const [place, text] of Object.entries(places)) {
    for (const [name, secret] of Object.entries(planted)) {
      assert.ok(!text.includes(secret), `${name} in ${place}: ${text.slice(Math.max(0, text.indexOf(secret) - 200), text.indexOf(secret) + 60)}`);
      const core = secret.replace(/^(amtk-|sk-)/, '').slice(0, -4);
      assert.ok(!text.includes(core), `most of ${name} in ${place}`);
    }
  }
  assert.ok(places.stored.length > 10000 && places.answers.length > 1000);
  for (const [name, mode] of [['gatehouse.db', 0o600], ['secret.key', 0o600], ['lock', 0o600]]) assert.equal(statSync(join(dataDir, name)).mode & 0o777, mode, name);
  assert.equal(statSync(dataDir).mode & 0o077, 0);
  const dump = await runBinary(['--dump-config'], { dataDir, tokens: false, env });
  for (const secret of Object.values(planted)) assert.ok(!dump.stdout.includes(secret));
  rmSync(dataDir, { recursive: true, force: true });
});

test('the process cannot be dumped or traced by others, and gains no privileges', async () => {
  const d = await startDaemon();
  const status = readFileSync(`/proc/${d.child.pid}/status`, 'utf8');
  assert.match(status, /^CoreDumping:\s+0$/m);
  assert.match(status, /^NoNewPrivs:\s+1$/m);
  assert.equal(statSync(`/proc/${d.child.pid}/environ`).uid, 0, 'not dumpable: its files belong to root');
  await d.stop();
});

test('right and wrong tokens take the same time', async () => {
  const d = await startDaemon();
  const c = async (token) => {
    const began = process.hrtime.bigint();
    await d.request('GET', '/api/session', undefined, bearer(token));
    return Number(process.hrtime.bigint() - began);
  };
  // a prefix that is right must not take longer: medians of interleaved rounds (few, so that nobody is blocked)
  const near = [], far = [];
  for (let i = 0; i < 14; i++) {
    near.push(await c(`${ADMIN_TOKEN.slice(0, -1)}${i % 2 ? 'A' : 'B'}`));
    far.push(await c(`Z${ADMIN_TOKEN.slice(1)}`));
  }
  const median = (a) => a.sort((x, y) => x - y)[a.length >> 1];
  assert.ok(Math.abs(median(near) - median(far)) < 2e6, `${median(near)} ${median(far)}`);
  await d.stop();
});
