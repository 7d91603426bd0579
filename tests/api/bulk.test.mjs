// Many channels at once: paste with a preview, one action on many, export and import. All or nothing.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { startDaemon, startSim, sql, until, openEvents, ADMIN_TOKEN } from '../harness.mjs';

const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
let d, sim;
before(async () => { sim = await startSim(['--model', 'gpt-4o']); d = await startDaemon(); });
after(async () => { await d?.stop(); await sim?.stop(); });

const list = async (query = '') => (await d.api('GET', `/api/targets?history=0${query}`)).items;
const bulk = (body, want = 200) => d.api('POST', '/api/targets/bulk', body, want).catch((e) => { throw e; });
const post = (path, body) => d.request('POST', path, body, admin);

describe('paste', () => {
  const text = 'relay-a https://a.example/v1 sk-key-aaaaaaaaaaaa\n# remark\n\nhttps://b.example\nsk-key-bbbbbbbbbbbb\nno address here\nrelay-a https://c.example sk-c\nbad http://169.254.169.254 sk-d\na/b https://e.example sk-e\n';

  test('the preview names each fault and stores nothing', async () => {
    const r = await d.api('POST', '/api/targets/parse', { text });
    assert.deepEqual(r.items.map((i) => [i.line, i.name, i.fault === null]), [
      [1, 'relay-a', true], [4, 'b.example', true], [6, 'no address here', false], [7, 'relay-a', false], [8, 'bad', false], [9, 'a/b', false],
    ]);
    assert.deepEqual([r.count, r.faults], [6, 4]);
    assert.equal(r.items[0].api_key, '****aaaa');
    assert.equal(r.items[4].field, 'base_url');
    assert.equal((await list()).length, 0);
  });

  test('creating with a fault changes nothing; without one, all', async () => {
    const bad = await post('/api/targets/bulk', { action: 'create', text });
    assert.equal(bad.status, 400);
    assert.match(bad.json.detail, /^4 of 6 channels have faults/);
    assert.deepEqual(bad.json.faults.map((f) => f.line), [6, 7, 8, 9]);
    assert.equal((await list()).length, 0);
    const ok = await bulk({ action: 'create', text: text.split('\n').slice(0, 5).join('\n') });
    assert.deepEqual([ok.changed, ok.create.map((c) => c.name)], [2, ['relay-a', 'b.example']]);
    const again = await post('/api/targets/bulk', { action: 'create', text: 'relay-a https://a.example k' });
    assert.deepEqual([again.status, again.json.faults[0].detail], [400, 'a channel of this name exists']);
  });

  test('fifty lines, and runs at once when asked', async () => {
    const lines = Array.from({ length: 50 }, (_, i) => `p${i} ${sim.url} key-${i}`).join('\n');
    const r = await bulk({ action: 'create', text: lines, run: true });
    assert.equal(r.changed, 50);
    assert.equal(r.runs.length, 50);
    assert.ok(r.runs.every((x) => x.started || x.detail === 'target already running'));
    await until(async () => (await list('&q=p')).filter((t) => /^p\d/.test(t.name)).every((t) => t.last_status === 'healthy'), 'fifty runs');
  });
});

describe('actions', () => {
  let ids;
  before(async () => { ids = (await list()).slice(0, 5).map((t) => t.id); });

  test('pause, resume, interval, tag, untag', async () => {
    const some = async () => (await list()).filter((t) => ids.includes(t.id));
    assert.deepEqual(await bulk({ action: 'pause', ids }), { ok: true, changed: 5, ids });
    assert.ok((await some()).every((t) => !t.enabled));
    assert.equal((await bulk({ action: 'pause', ids })).changed, 0);
    await bulk({ action: 'resume', ids });
    assert.ok((await some()).every((t) => t.enabled));
    await bulk({ action: 'interval', ids, interval_min: 77 });
    assert.ok((await some()).every((t) => t.interval_min === 77));
    await bulk({ action: 'tag', ids, tags: ['x', 'y', 'x'] });
    await bulk({ action: 'untag', ids, tags: ['x'] });
    assert.ok((await some()).every((t) => t.tags.join() === 'y'));
  });

  test('one bad id or value and nothing changes', async () => {
    const before = await list();
    for (const [body, status] of [
      [{ action: 'pause', ids: [...ids, 99999] }, 404], [{ action: 'delete', ids: [...ids, 99999] }, 404], [{ action: 'interval', ids, interval_min: 0 }, 400],
      [{ action: 'interval', ids }, 400], [{ action: 'tag', ids, tags: [''] }, 400], [{ action: 'tag', ids, tags: 'x' }, 400], [{ action: 'tag', ids, tags: [1] }, 400],
      [{ action: 'pause', ids: [ids[0], ids[0]] }, 400], [{ action: 'pause', ids: [] }, 400], [{ action: 'pause', ids: ['1'] }, 400], [{ action: 'pause' }, 400],
      [{ action: 'explode', ids }, 400], [{ ids }, 400], [{ action: 'pause', ids, extra: 1 }, 400], [{ action: 'delete', ids, keep_logs: 'yes' }, 400],
      [{ action: 'create', items: [] }, 400], [{ action: 'create', items: {} }, 400], [{ action: 'create', items: [1] }, 400], [{ action: 'create', text: '# nothing' }, 400],
      [{ action: 'create' }, 400], [[], 400], ['7', 400],
    ]) {
      const r = await post('/api/targets/bulk', body);
      assert.equal(r.status, status, JSON.stringify(body));
      assert.ok(r.json.detail.length > 0);
    }
    const strip = (items) => items.map(({ running, queued, progress, next_run_at, latest_models, last_run_at, last_run_id, last_log_file, ...rest }) => rest);
    assert.deepEqual(strip(await list()), strip(before));
  });

  test('delete takes them with their runs, and is audited and told', async () => {
    const events = await openEvents(d.url, '/api/events', admin);
    await events.waitFor('connected');
    await bulk({ action: 'delete', ids });
    assert.ok(!(await list()).some((t) => ids.includes(t.id)));
    for (const id of ids) await events.waitFor('target_updated', (e) => e.data.includes('"deleted"') && JSON.parse(e.data).target_id === id);
    await events.close();
    const [[[n]], [[runs]]] = sql(join(d.dataDir, 'gatehouse.db'), "SELECT count(*) FROM audit WHERE action = 'channel.delete'", `SELECT count(*) FROM runs WHERE channel_id IN (${ids})`);
    assert.deepEqual([n, runs], [5, 0]);
  });
});

describe('export and import', () => {
  test('export, import into an empty instance, export: the same bytes', async () => {
    await d.api('POST', '/api/targets', { name: 'full', base_url: 'https://f.example', api_key: 'sk-full-0123456789', api_keys: ['sk-more-0123456789'], tags: ['t'], selected_models: ['m'], route_overrides: { m: 'responses' }, source_url: 'https://s.example', enabled: false, stream_probe: true, user_agent: 'UA', timeout_s: 12.5, sort_order: 3 });
    const first = await d.request('GET', '/api/targets/export?secrets=clear', undefined, admin);
    assert.equal(first.headers.get('cache-control'), 'no-store');
    const other = await startDaemon();
    try {
      const r = await other.api('POST', '/api/targets/import', first.text);
      assert.equal(r.changed, first.json.channels.length);
      assert.equal((await other.request('GET', '/api/targets/export?secrets=clear', undefined, admin)).text, first.text);
      const again = await other.api('POST', '/api/targets/import', first.text);
      assert.deepEqual([again.changed, again.unchanged.length], [0, first.json.channels.length]);
    } finally {
      await other.stop();
    }
    assert.equal(sql(join(d.dataDir, 'gatehouse.db'), "SELECT count(*) FROM audit WHERE action = 'channel.export_keys'")[0][0][0], 1);
  });

  test('secrets stay at home unless asked for', async () => {
    for (const query of ['', '?secrets=masked', '?secrets=omit']) {
      const r = await d.request('GET', `/api/targets/export${query}`, undefined, admin);
      assert.ok(!r.text.includes('sk-full-'), query);
      assert.equal('api_key' in r.json.channels[0], query !== '?secrets=omit');
    }
    assert.equal((await d.request('GET', '/api/targets/export?secrets=all', undefined, admin)).status, 400);
  });

  test('a dry run shows the difference and changes nothing', async () => {
    const { channels } = await d.api('GET', '/api/targets/export?secrets=omit');
    const [a, b] = channels;
    const doc = { format: 'gatehouse.channels', version: 1, channels: [{ ...a, interval_min: 11, tags: ['new'] }, b, { name: 'fresh', base_url: 'https://n.example', api_key: 'k' }, { name: 'keyless', base_url: 'https://n.example' }, { name: b.name }, { name: 'odd', base_url: 'https://n.example', api_key: 'k', nonsense: 1 }] };
    const r = await d.api('POST', '/api/targets/import?dry_run=1', doc);
    assert.deepEqual([r.ok, r.dry_run], [false, true]);
    assert.deepEqual(r.create.map((c) => c.name), ['fresh']);
    assert.deepEqual(r.update.map((u) => [u.name, u.fields]), [[a.name, ['interval_min', 'tags']]]);
    assert.deepEqual(r.unchanged.map((u) => u.name), [b.name]);
    assert.deepEqual(r.faults.map((f) => [f.index, f.detail]), [[3, 'name, base_url, api_key are required'], [4, 'the name stands further up already'], [5, "unknown field 'nonsense'"]]);
    const real = await post('/api/targets/import', doc);
    assert.equal(real.status, 400);
    assert.equal(real.json.faults.length, 3);
    assert.deepEqual((await d.api('GET', '/api/targets/export?secrets=omit')).channels, channels);
    const keys = await d.api('POST', '/api/targets/import', [{ ...a, api_key: '****', interval_min: 12 }]).catch((e) => e);
    assert.ok(keys instanceof Error || keys.changed === 1); // a mask is its key or a fault, never a new key
    for (const body of [{}, { channels: {} }, { channels: [] }, 'null', '"x"', { channels: [a], more: 1 }])
      assert.equal((await post('/api/targets/import', body)).status, 400, JSON.stringify(body));
  });
});
