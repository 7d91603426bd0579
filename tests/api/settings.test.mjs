// The settings of the page: every field good and bad, all or nothing, what the environment sets, masks.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { startDaemon, login, openEvents, tempDir, until, sql, ADMIN_TOKEN, ADMIN_PASSWORD } from '../harness.mjs';
import { join } from 'node:path';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
let d;
before(async () => { d = await startDaemon({ env: { API_MONITOR_TOKEN_ADMIN: '', ADMIN_PANEL_PASSWORD: '', PROXY_MASTER_TOKEN: '' }, tokens: false }); });
after(() => d?.stop());

let token; // the daemon's own, made at its first start
const headers = () => ({ authorization: `Bearer ${token}` });
const read = async () => (await d.request('GET', '/api/admin/settings', undefined, headers())).json.item;
const patch = (body) => d.request('PATCH', '/api/admin/settings', body, headers());

test('what a new installation has', async () => {
  token = (await until(() => /admin token\s+(\S+)/.exec(d.out), 'the token'))[1];
  assert.deepEqual(await read(), {
    api_monitor_token_admin: `****${token.slice(-4)}`, api_monitor_token_visitor: '', visitor_mode_enabled: false, proxy_master_token: '', log_cleanup_enabled: true,
    log_max_size_mb: 500, liquid_glass_enabled: false, admin_panel_password: '', locked: {},
  });
});

const good = [
  ['api_monitor_token_visitor', 'v', '****'], ['api_monitor_token_visitor', 'visitor-0123456789', '****6789'], ['api_monitor_token_visitor', '  padded-0123456789  ', '****6789'], ['api_monitor_token_visitor', 'x'.repeat(256), '****xxxx'], ['api_monitor_token_visitor', '', ''],
  ['visitor_mode_enabled', true, true], ['visitor_mode_enabled', false, false],
  ['proxy_master_token', 'sk-0123456789abcdef', '****cdef'], ['proxy_master_token', 'é'.repeat(256), '****'], ['proxy_master_token', '', ''],
  ['log_cleanup_enabled', false, false], ['log_cleanup_enabled', true, true],
  ['log_max_size_mb', 0, 0], ['log_max_size_mb', 102400, 102400], ['log_max_size_mb', 128, 128],
  ['liquid_glass_enabled', true, true], ['liquid_glass_enabled', false, false],
  ['admin_panel_password', 'x'.repeat(8), ''], ['admin_panel_password', 'pässwörd 日本', ''], ['admin_panel_password', 'x'.repeat(1024), ''],
];
for (const [name, value, shown] of good) {
  test(`takes ${name} = ${JSON.stringify(value).slice(0, 40)}`, async () => {
    const r = await patch({ [name]: value });
    assert.equal(r.status, 200, r.text);
    assert.equal(r.json.ok, true);
    const mask = r.json.item[name];
    if (typeof shown === 'string' && shown.startsWith('****') && shown.length === 4) assert.doesNotMatch(mask, /v$/, 'a short secret shows nothing of itself');
    else assert.equal(mask, shown);
    assert.deepEqual(await read(), r.json.item);
  });
}

const bad = [
  ['api_monitor_token_admin', '', 'api_monitor_token_admin must be 1-256 chars'], ['api_monitor_token_admin', '   ', 'api_monitor_token_admin must be 1-256 chars'], ['api_monitor_token_admin', 'x'.repeat(257), 'api_monitor_token_admin must be 1-256 chars'],
  ['api_monitor_token_admin', 5], ['api_monitor_token_admin', true], ['api_monitor_token_admin', {}], ['api_monitor_token_admin', ['x']], ['api_monitor_token_admin', 'a\u0001b'], ['api_monitor_token_admin', 'a\nb'],
  ['api_monitor_token_visitor', 'x'.repeat(257), 'api_monitor_token_visitor must be <= 256 chars'], ['api_monitor_token_visitor', 5],
  ['visitor_mode_enabled', 1], ['visitor_mode_enabled', 'true'], ['visitor_mode_enabled', {}],
  ['proxy_master_token', 'x'.repeat(257), 'proxy_master_token must be <= 256 chars'], ['proxy_master_token', 1.5], ['proxy_master_token', 'sk-\u007f'],
  ['log_cleanup_enabled', 0], ['log_cleanup_enabled', 'yes'],
  ['log_max_size_mb', -1, 'log_max_size_mb must be 0-102400'], ['log_max_size_mb', 102401, 'log_max_size_mb must be 0-102400'], ['log_max_size_mb', 1.5], ['log_max_size_mb', '5'], ['log_max_size_mb', 1e300], ['log_max_size_mb', true],
  ['liquid_glass_enabled', 'on'],
  ['admin_panel_password', '1234567', 'admin_panel_password must be 8-1024 chars'], ['admin_panel_password', 'x'.repeat(1025), 'admin_panel_password must be 8-1024 chars'], ['admin_panel_password', 12345678],
  ['no_such_field', 1], ['locked ', {}],
];
for (const [name, value, text] of bad) {
  test(`refuses ${name} = ${JSON.stringify(value).slice(0, 40)} and changes nothing`, async () => {
    const was = await read();
    const r = await patch({ log_max_size_mb: 77, [name]: value, visitor_mode_enabled: name === 'visitor_mode_enabled' ? value : true });
    assert.equal(r.status, 400, r.text);
    if (text) assert.equal(r.json.detail, text);
    assert.ok(r.json.detail.includes(name) && r.json.detail.length > name.length, r.json.detail);
    assert.equal(r.json.field, name);
    assert.deepEqual(await read(), was);
  });
}

test('bodies that are no object are invalid JSON', async () => {
  const was = await read();
  for (const body of ['', '[]', '5', '"x"', 'null', '{', '{"log_max_size_mb":5', '{"log_max_size_mb":5,"log_max_size_mb":6}', '{"a":'.repeat(70)]) {
    const r = await patch(body);
    assert.equal(r.status, 400, body);
    assert.match(r.json.detail, /^invalid JSON/);
  }
  assert.deepEqual(await read(), was);
});

test('nothing, null and a copy of the answer change nothing', async () => {
  await patch({ api_monitor_token_visitor: 'visitor-0123456789', proxy_master_token: 'sk-0123456789abcdef' });
  const was = await read();
  for (const body of [{}, was, { log_max_size_mb: null, api_monitor_token_admin: null }, { api_monitor_token_admin: was.api_monitor_token_admin }, { admin_panel_password: '' }]) {
    const r = await patch(body);
    assert.equal(r.status, 200, r.text);
    assert.deepEqual(r.json.item, was);
  }
  assert.equal((await d.request('GET', '/api/admin/settings', undefined, headers())).status, 200, 'the mask is not the token now');
  assert.equal((await d.request('GET', '/api/admin/settings', undefined, { authorization: `Bearer ${was.api_monitor_token_admin}` })).status, 401);
});

test('the name of the first generation is taken as well', async () => {
  const r = await patch({ api_monitor_token: 'amtk-of-the-first-generation' });
  assert.equal(r.status, 200, r.text);
  assert.equal(r.json.item.api_monitor_token_admin, '****tion');
  token = 'amtk-of-the-first-generation';
  assert.equal((await read()).api_monitor_token_admin, '****tion');
});

test('a new admin token takes effect at once, signs in, ends sessions, and is told to pages', async () => {
  await patch({ admin_panel_password: ADMIN_PASSWORD });
  const [mine, other] = [await login(d), await login(d)];
  const stream = await openEvents(d.url, '/api/events', headers());
  await stream.waitFor('connected');
  const r = await d.request('PATCH', '/api/admin/settings', { api_monitor_token_admin: 'amtk-brand-new-token' }, { cookie: mine, origin: d.url });
  assert.equal(r.status, 200, r.text);
  assert.equal((await d.request('GET', '/api/admin/settings', undefined, headers())).status, 401);
  assert.equal((await d.request('GET', '/api/admin/settings', undefined, { cookie: other })).status, 401);
  assert.equal((await d.request('GET', '/api/admin/settings', undefined, { cookie: mine })).status, 200);
  token = 'amtk-brand-new-token';
  assert.equal((await d.request('GET', '/api/admin/settings', undefined, headers())).status, 200);
  await login(d, token);
  assert.deepEqual(JSON.parse((await stream.waitFor('auth_changed')).data), { message: 'authentication settings changed' });
  await stream.close();
});

test('several at once, and all are kept over a kill', async () => {
  const dataDir = tempDir();
  let own = await startDaemon({ dataDir });
  const body = { api_monitor_token_visitor: 'visitor-abcdefgh', visitor_mode_enabled: true, proxy_master_token: 'sk-abcdefgh', log_cleanup_enabled: false, log_max_size_mb: 3, liquid_glass_enabled: true };
  const { item } = await own.api('PATCH', '/api/admin/settings', body);
  await own.kill();
  own = await startDaemon({ dataDir });
  assert.deepEqual((await own.api('GET', '/api/admin/settings')).item, item);
  assert.equal(item.log_max_size_mb, 3);
  assert.equal((await own.request('GET', '/api/targets', undefined, { authorization: 'Bearer visitor-abcdefgh' })).status, 200);
  const audit = sql(join(dataDir, 'gatehouse.db'), "SELECT actor, action FROM audit WHERE action = 'settings.update'")[0];
  assert.equal(audit.length, 1);
  assert.equal(audit[0][0], 'admin token');
  await own.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

describe('what the environment gives', () => {
  test('admin token, password and visitor token are locked', async () => {
    const own = await startDaemon({ env: { API_MONITOR_TOKEN_VISITOR: 'visitor-0123456789' } });
    const { item } = await own.api('GET', '/api/admin/settings');
    assert.deepEqual(item.locked, { api_monitor_token_admin: 'environment API_MONITOR_TOKEN_ADMIN', api_monitor_token_visitor: 'environment API_MONITOR_TOKEN_VISITOR', admin_panel_password: 'environment ADMIN_PANEL_PASSWORD' });
    for (const [name, origin] of Object.entries(item.locked)) {
      const r = await own.request('PATCH', '/api/admin/settings', { log_max_size_mb: 9, [name]: 'something else entirely' }, admin);
      assert.equal(r.status, 409, r.text);
      assert.equal(r.json.detail, `${name} is set by ${origin}`);
    }
    assert.equal((await own.api('GET', '/api/admin/settings')).item.log_max_size_mb, 500, 'nothing of a refused change is kept');
    for (const same of [{ api_monitor_token_admin: ADMIN_TOKEN }, { api_monitor_token_admin: item.api_monitor_token_admin }, { api_monitor_token_visitor: 'visitor-0123456789' }, { admin_panel_password: '' }, { admin_panel_password: ADMIN_PASSWORD }])
      assert.equal((await own.request('PATCH', '/api/admin/settings', same, admin)).status, 200, JSON.stringify(same));
    await own.stop();
  });

  test('other settings are seeded; the page wins until the environment changes', async () => {
    const dataDir = tempDir();
    const run = async (env, fn) => {
      const own = await startDaemon({ dataDir, env });
      const item = (await own.api('GET', '/api/admin/settings')).item;
      assert.deepEqual(Object.keys(item.locked).sort(), ['admin_panel_password', 'api_monitor_token_admin']);
      await fn(item, own);
      await own.stop();
    };
    const env = { LOG_MAX_SIZE_MB: '128', LOG_CLEANUP_ENABLED: 'off', PROXY_MASTER_TOKEN: 'sk-environment-one', GATEHOUSE_VISITOR_MODE: 'true' };
    const shown = (i) => [i.log_max_size_mb, i.log_cleanup_enabled, i.proxy_master_token, i.visitor_mode_enabled];
    await run(env, async (item, own) => {
      assert.deepEqual(shown(item), [128, false, '****-one', true]);
      await own.api('PATCH', '/api/admin/settings', { log_max_size_mb: 7, log_cleanup_enabled: true, proxy_master_token: 'sk-from-the-page', visitor_mode_enabled: false });
      assert.equal((await own.request('GET', '/api/targets')).status, 401);
    });
    await run(env, async (item, own) => {
      assert.deepEqual(shown(item), [7, true, '****page', false], 'the page won');
      assert.equal((await own.request('GET', '/api/targets')).status, 401);
    });
    await run({ ...env, LOG_MAX_SIZE_MB: '256', PROXY_MASTER_TOKEN: 'sk-environment-two' }, async (item) => assert.deepEqual(shown(item), [256, true, '****-two', false], 'what changed wins'));
    await run({}, async (item) => assert.deepEqual(shown(item), [256, true, '****-two', false], 'unset changes nothing'));
    rmSync(dataDir, { recursive: true, force: true });
  });

  for (const [value, on] of [['0', false], ['false', false], ['NO', false], ['off', false], ['1', true], ['true', true], ['anything', true], ['', true]]) {
    test(`LOG_CLEANUP_ENABLED=${value}`, async () => {
      const own = await startDaemon({ env: { LOG_CLEANUP_ENABLED: value } });
      assert.equal((await own.api('GET', '/api/admin/settings')).item.log_cleanup_enabled, on);
      await own.stop();
    });
  }
});

test('every option is shown with what set it, secrets masked', async () => {
  const own = await startDaemon({ env: { LOG_MAX_SIZE_MB: '128' }, args: ['--http-header-count=50'] });
  const { items } = await own.api('GET', '/api/admin/options');
  const by = Object.fromEntries(items.map((i) => [i.name, i]));
  assert.ok(items.length > 40);
  for (const i of items) for (const key of ['name', 'type', 'value', 'default', 'origin', 'unit', 'reloadable', 'page', 'help']) assert.ok(key in i, `${i.name}.${key}`);
  assert.equal(by['http.header_count'].value, '50');
  assert.equal(by['http.header_count'].origin, 'flag --http-header-count');
  assert.equal(by['admin_token'].value, `****${ADMIN_TOKEN.slice(-4)}`);
  assert.equal(by['admin_token'].origin, 'environment API_MONITOR_TOKEN_ADMIN');
  assert.equal(by['http.head_timeout'].origin, 'default');
  assert.equal(by['log_max_size_mb'].value, '128');
  assert.deepEqual(by['trusted_proxies'].value, []);
  assert.ok(!('url' in by) && !('dry_run' in by));
  await own.stop();
});
