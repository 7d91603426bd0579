// Bad input: every field of a channel with every kind of wrong value, and bodies that are no JSON on every
// route that takes one. Each ends as 4xx with {"detail"} naming field and reason, and the stored state is
// what it was.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { startDaemon, raw, answers, sql, ADMIN_TOKEN } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const GOOD = { name: 'good', base_url: 'https://relay.example', api_key: 'sk-good' };
let d, id;

before(async () => {
  d = await startDaemon();
  id = (await d.api('POST', '/api/targets', { ...GOOD, enabled: false })).item.id;
});
after(() => d?.stop());

const state = () => JSON.stringify(sql(join(d.dataDir, 'gatehouse.db'), 'SELECT * FROM channels ORDER BY id', 'SELECT * FROM settings ORDER BY key', 'SELECT * FROM proxy_keys ORDER BY id'));

const strings = (name, max, { nullable = false, min = 1 } = {}) => [
  [7, name], [true, name], [[], name], [{}, name], ['x'.repeat(max + 1), name], ...(min > 0 ? [['', name], ['   ', name]] : []), ...(nullable ? [] : []),
];
const booleans = (name) => [['true', name], [2, name], [[], name], [{}, name], [0.5, name]];
const numbers = (name, low, high) => [['5', name], [true, name], [[], name], [{}, name], [low, name], [high, name], [1e300, name], [-1e300, name]];
const lists = (name) => [['a', name], [7, name], [{}, name], [[1], name], [[null], name], [[''], name], [[['a']], name]];
const controls = ['a\u0000b', 'a\nb', 'a\u001bb', 'a\u007fb', 'a\u0085b'];

const cases = {
  name: [...strings('name', 128), ['a/b', 'name'], ...controls.map((v) => [v, 'name'])],
  base_url: [...strings('base_url', 512), ...['ftp://h', 'relay.example', 'https://', 'https:///x', 'javascript:alert(1)', 'https://u:p@h', 'https://h:99999', 'https://h h', 'http://h:25', 'http://0.0.0.0', 'https://[::]', 'h', 'https://h\nx'].map((v) => [v, 'base_url'])],
  api_key: [...strings('api_key', 2048), ...controls.map((v) => [v, 'api_key']), ['****abcd', 'api_key']],
  interval_min: [...numbers('interval_min', 0, 1441), [1.5, 'interval_min']],
  timeout_s: numbers('timeout_s', 2.99, 300.1),
  max_models: [...numbers('max_models', -1, 5001), [0.5, 'max_models']],
  sort_order: [...numbers('sort_order', 0, 1000001)],
  prompt: [...strings('prompt', 4000), ['a\u0000b', 'prompt']],
  anthropic_version: [...strings('anthropic_version', 64), ['abc', 'anthropic_version'], ['2025\r\nX: y', 'anthropic_version']],
  source_url: [[7, 'source_url'], [{}, 'source_url'], [`https://h/${'x'.repeat(1020)}`, 'source_url'], ['javascript:alert(1)', 'source_url'], ['//h', 'source_url']],
  visitor_channel_actions_enabled: booleans('visitor_channel_actions_enabled'),
  selected_models: [...lists('selected_models'), [Array(5001).fill('m'), 'selected_models'], [['x'.repeat(257)], 'selected_models']],
  enabled: booleans('enabled'),
  verify_ssl: booleans('verify_ssl'),
  api_keys: [...lists('api_keys'), [Array(65).fill('k'), 'api_keys'], [['a\nb'], 'api_keys']],
  public: [...booleans('public'), [1, 'public']],
  tags: [...lists('tags'), [Array(33).fill('t'), 'tags'], [['x'.repeat(65)], 'tags']],
  route_overrides: [['x', 'route_overrides'], [[], 'route_overrides'], [{ m: 'fast' }, 'route_overrides'], [{ m: 1 }, 'route_overrides'], [{ '': 'chat' }, 'route_overrides']],
  skip_unprobeable: booleans('skip_unprobeable'),
  lenient: booleans('lenient'),
  stream_probe: booleans('stream_probe'),
  user_agent: [[7, 'user_agent'], ['x'.repeat(257), 'user_agent'], ['a\r\nX-Evil: 1', 'user_agent']],
  proxy_url: [[7, 'proxy_url'], ['ftp://h', 'proxy_url'], ['socks5://', 'proxy_url'], [`http://${'h'.repeat(513)}`, 'proxy_url']],
  first_byte_timeout_s: numbers('first_byte_timeout_s', 0.05, 3600.5),
  idle_timeout_s: numbers('idle_timeout_s', 0.05, 3600.5),
};

describe('fields of a channel', () => {
  test('the table here has every field of the document', async () => {
    const doc = (await d.request('GET', '/openapi.json')).json;
    assert.deepEqual(Object.keys(doc.components.schemas.ChannelPatch.properties).sort(), Object.keys(cases).sort());
  });

  for (const [field, list] of Object.entries(cases)) {
    test(field, async () => {
      const before = state();
      for (const [value] of list) {
        const shown = `${field}: ${JSON.stringify(value).slice(0, 80)}`;
        for (const [method, path, body] of [['PATCH', `/api/targets/${id}`, { [field]: value }], ['POST', '/api/targets', { ...GOOD, name: 'other', [field]: value }]]) {
          const r = await d.request(method, path, body, admin);
          assert.equal(r.status, 400, `${method} ${shown}: ${r.text.slice(0, 200)}`);
          assert.ok(typeof r.json.detail === 'string' && r.json.detail.length > 0, shown);
          const isText = r.json.detail === 'invalid JSON'; // U+0000 is no JSON of ours; the reason says where
          assert.ok(isText ? r.json.reason : r.json.field === field || r.json.detail === 'name, base_url, api_key are required', `${method} ${shown}: ${r.text}`);
          if (!isText) assert.match(r.json.detail, new RegExp(field), shown);
        }
      }
      assert.equal(state(), before);
    });
  }

  test('unknown and misspelled fields', async () => {
    const before = state();
    for (const field of ['intervalmin', 'Name', '', 'x'.repeat(5000), '<b>', 'ключ'])
      for (const [method, path] of [['PATCH', `/api/targets/${id}`], ['POST', '/api/targets']]) {
        const r = await d.request(method, path, { ...(method === 'POST' ? { ...GOOD, name: 'other' } : {}), [field]: 1 }, admin);
        assert.equal(r.status, 400, field);
        assert.match(r.json.detail, /unknown field/);
      }
    assert.equal(state(), before);
  });

  test('what is required', async () => {
    for (const body of [{}, 'null', { name: 'x' }, { ...GOOD, api_key: '' }, { ...GOOD, name: 5 }, { ...GOOD, base_url: 'ab' }]) {
      const r = await d.request('POST', '/api/targets', body, admin);
      assert.deepEqual([r.status, r.json.detail], [400, 'name, base_url, api_key are required']);
    }
  });

  test('expected_updated_at', async () => {
    for (const value of ['1', true, [], {}, -1, 0, 1e300]) {
      const r = await d.request('PATCH', `/api/targets/${id}`, { expected_updated_at: value, tags: ['x'] }, admin);
      assert.deepEqual([r.status, r.json.field], [400, 'expected_updated_at']);
    }
  });
});

describe('bodies', () => {
  // Of every route that takes one, filled so that only the body is wrong.
  const routes = async () => {
    const doc = (await d.request('GET', '/openapi.json')).json;
    return Object.entries(doc.paths).flatMap(([path, ops]) => Object.entries(ops).filter(([, op]) => op.requestBody).map(([method]) => [method.toUpperCase(), path.replaceAll(/\{[^}]+\}/g, String(id))]));
  };
  const deep = (n) => '{"name":' + '['.repeat(n - 1) + ']'.repeat(n - 1) + '}';
  const bodies = {
    'empty': '', 'not JSON': 'name=x', 'cut off': '{"name":"x"', 'a duplicate key': '{"name":"x","name":"y"}', 'depth 65': deep(65), 'depth 100,000': deep(100000),
    'not UTF-8': Buffer.from('{"name":"\xff\xfe"}', 'latin1'), 'an overlong form': Buffer.from('{"name":"\xc0\xaf"}', 'latin1'), 'a lone surrogate': '{"name":"\\ud800"}',
    'NUL in a string': '{"name":"a\\u0000b"}', 'a bare NUL': '{"name":"a\0b"}', 'a comment': '/* */ {}', 'NaN': '{"interval_min":NaN}', 'a number out of range': '{"interval_min":1e999}',
    'an integer out of range': '{"interval_min":123456789012345678901234567890}', 'single quotes': "{'name':'x'}", 'a list': '[1,2', 'a BOM': '\ufeff{}',
  };

  test('that are no JSON of ours are refused by every route', async () => {
    const before = state();
    const all = await routes();
    assert.ok(all.length > 10);
    for (const [method, path] of all)
      for (const [what, body] of Object.entries(bodies)) {
        const r = await d.request(method, path, body, admin);
        assert.ok(r.status >= 400 && r.status < 500, `${method} ${path} with ${what}: ${r.status} ${r.text.slice(0, 200)}`);
        assert.ok(r.json?.detail?.length > 0, `${method} ${path} with ${what}`);
      }
    assert.equal(state(), before);
  });

  test('of another type than an object are refused by every route', async () => {
    const before = state();
    for (const [method, path] of await routes())
      for (const body of ['7', '"x"', 'true', '[]', '[[]]']) {
        const r = await d.request(method, path, body, admin);
        assert.ok(r.status >= 400 && r.status < 500, `${method} ${path} with ${body}: ${r.status} ${r.text.slice(0, 200)}`);
      }
    assert.equal(state(), before);
  });

  test('larger than 1 MiB are 413', async () => {
    const r = answers(await raw(d.port, `POST /api/targets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\nContent-Length: ${2 << 20}\r\n\r\n{"name":"${'x'.repeat(60000)}`))[0];
    assert.equal(r.status, 413);
  });

  test('trailing bytes behind the first value are ignored, as by system 1', async () => {
    assert.equal((await d.request('PATCH', `/api/targets/${id}`, '{} trailing', admin)).status, 200);
  });
});

describe('paths and queries', () => {
  test('ids', async () => {
    for (const bad of ['0', '-1', '1.5', 'abc', '%31x', '99999999999999999999', '1e3', '0x1'])
      for (const [method, tail] of [['GET', ''], ['GET', '/runs'], ['GET', '/logs'], ['GET', '/logs/export'], ['GET', '/models'], ['POST', '/run'], ['POST', '/cancel'], ['POST', '/reveal-key'], ['DELETE', ''], ['PATCH', ''], ['PATCH', '/models']]) {
        const r = await d.request(method, `/api/targets/${bad}${tail}`, method === 'PATCH' ? '{' : undefined, admin);
        assert.deepEqual([r.status, r.json.detail], [400, 'invalid id'], `${method} ${bad}${tail}`);
      }
  });

  test('hostile query values end as an answer', async () => {
    for (const path of ['/api/targets', `/api/targets/${id}`, `/api/targets/${id}/runs`, `/api/targets/${id}/logs`, `/api/targets/${id}/logs/export`, '/api/dashboard', '/api/targets/export'])
      for (const query of ['limit=-5', 'limit=999999999999999999999', 'limit=%00', 'q=%ff%fe', "q=';DROP TABLE channels;--", 'q=%25%5F%5C', `q=${'x'.repeat(3000)}`, 'model=%F0%9F%98%80', 'before_id=-9', 'history=1e9', '&&&===', 'tag=%', 'since=1e308', 'since=nan', 'after=9999999999-1', 'run_id=%20']) {
        const r = await d.request('GET', `${path}?${query}`, undefined, admin);
        assert.ok(r.status === 200 || r.status === 400 || r.status === 404, `${path}?${query}: ${r.status}`);
      }
    assert.equal((await d.api('GET', '/api/targets')).items.length, 1);
  });
});
