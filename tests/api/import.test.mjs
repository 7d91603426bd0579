// A registry.db of systems 1 and 2 in the data directory of a first start, by the tables of spec 1 section 2 (ruling
// 14), and `gatehouse import`: ids, history, keys and secrets go on where the old system stopped; the source stays as it was.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runBinary, sql, startDaemon, startSim, tempDir, until } from '../harness.mjs';
import { asked, finished, run, runs } from './channels.mjs';

const TOKEN = 'amtk-0123456789abcdef0123456789abcdef';
const old = { authorization: `Bearer ${TOKEN}` };
const OLD_KEY = 'sk-old-upstream-key-000000000042';
const POINTS = 35;
let sim, dir;

before(async () => {
  sim = await startSim(['--model', 'claude-x', '--model', 'gpt-4o']);
  dir = tempDir();
});
after(async () => {
  await sim?.stop();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

// generation: PY, GO-early, GO, GO-later; leave_wal: the writer is killed, its newest rows stand in the -wal.
function registry(path, { generation = 'GO', base_url, enabled = 0, leave_wal = false }) {
  execFileSync('python3', ['-c', `
import sqlite3,sys,json,hashlib,os
path,gen,base,enabled,wal=sys.argv[1],sys.argv[2],sys.argv[3],int(sys.argv[4]),sys.argv[5]=='true'
c=sqlite3.connect(path)
if wal:
  c.execute("PRAGMA journal_mode=WAL"); c.execute("PRAGMA wal_autocheckpoint=0")
PROMPT="What is the exact model identifier (model string) you are using for this chat/session?"
more={"PY":"","GO-early":", sort_order INTEGER NOT NULL DEFAULT 0, selected_models TEXT NOT NULL DEFAULT '[]'"}.get(gen,", sort_order INTEGER NOT NULL DEFAULT 0, visitor_channel_actions_enabled INTEGER NOT NULL DEFAULT 0, selected_models TEXT NOT NULL DEFAULT '[]'")
timing=", ttfb REAL, ping REAL" if gen=="GO-later" else ""
c.executescript(f"""
CREATE TABLE IF NOT EXISTS targets (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, base_url TEXT NOT NULL, api_key TEXT NOT NULL, enabled INTEGER NOT NULL DEFAULT 1, interval_min INTEGER NOT NULL DEFAULT 30, timeout_s REAL NOT NULL DEFAULT 30.0, verify_ssl INTEGER NOT NULL DEFAULT 0, prompt TEXT NOT NULL DEFAULT '{PROMPT}', anthropic_version TEXT NOT NULL DEFAULT '2025-09-29', max_models INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL, updated_at REAL NOT NULL, last_run_at REAL, last_status TEXT, last_total INTEGER, last_success INTEGER, last_fail INTEGER, last_log_file TEXT, last_error TEXT, source_url TEXT{more});
CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY AUTOINCREMENT, target_id INTEGER NOT NULL, started_at REAL NOT NULL, finished_at REAL, status TEXT NOT NULL, total INTEGER NOT NULL DEFAULT 0, success INTEGER NOT NULL DEFAULT 0, fail INTEGER NOT NULL DEFAULT 0, log_file TEXT, error TEXT, FOREIGN KEY(target_id) REFERENCES targets(id) ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS run_models (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id INTEGER NOT NULL, target_id INTEGER NOT NULL, protocol TEXT, model TEXT, stream INTEGER NOT NULL DEFAULT 0, duration REAL, success INTEGER NOT NULL DEFAULT 0, transport_success INTEGER NOT NULL DEFAULT 0, tool_calls_count INTEGER NOT NULL DEFAULT 0, tool_calls TEXT, content TEXT, timestamp REAL, error TEXT, status_code INTEGER, route TEXT, endpoint TEXT{timing}, FOREIGN KEY(run_id) REFERENCES runs(id) ON DELETE CASCADE, FOREIGN KEY(target_id) REFERENCES targets(id) ON DELETE CASCADE);
CREATE INDEX IF NOT EXISTS idx_targets_enabled_last_run ON targets(enabled,last_run_at);
CREATE INDEX IF NOT EXISTS idx_runs_target_started ON runs(target_id, started_at DESC);
CREATE INDEX IF NOT EXISTS idx_run_models_target_time ON run_models(target_id, timestamp DESC);
CREATE INDEX IF NOT EXISTS idx_run_models_run ON run_models(run_id);
""")
if gen!="PY":
  c.executescript("""
CREATE INDEX IF NOT EXISTS idx_targets_sort_order ON targets(sort_order,id);
CREATE TABLE IF NOT EXISTS app_settings (key TEXT PRIMARY KEY, value TEXT NOT NULL, updated_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS proxy_keys (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, key_hash TEXT NOT NULL UNIQUE, key_prefix TEXT NOT NULL, allowed_targets TEXT NOT NULL DEFAULT '[]', allowed_models TEXT NOT NULL DEFAULT '[]', description TEXT NOT NULL DEFAULT '', enabled INTEGER NOT NULL DEFAULT 1, created_at REAL NOT NULL, revoked_at REAL, last_used_at REAL, last_used_target_id INTEGER);
CREATE INDEX IF NOT EXISTS idx_proxy_keys_enabled ON proxy_keys(enabled, revoked_at, created_at DESC);
""")
T=1767225600.0
c.execute("INSERT INTO targets(id,name,base_url,api_key,enabled,interval_min,timeout_s,verify_ssl,prompt,anthropic_version,max_models,created_at,updated_at,last_run_at,last_status,last_total,last_success,last_fail,last_log_file,last_error,source_url) VALUES(7,'relay/a b',?,'${OLD_KEY}',?,15,12.5,1,'old question','2023-06-01',3,?,?,?,'degraded',2,1,1,'/app/data/logs/target_7_20260101_010000.jsonl',NULL,'https://shop.example/')",(base,enabled,T+.123,T+60.5,T+${POINTS}*60))
c.execute("INSERT INTO targets(id,name,base_url,api_key,enabled,created_at,updated_at) VALUES(3,'never ran','https://relay.example','k',0,?,?)",(T,T))
c.execute("INSERT INTO targets(id,name,base_url,api_key,enabled,created_at,updated_at) VALUES(90,'deleted','https://relay.example','k',0,?,?)",(T,T))
c.execute("DELETE FROM targets WHERE id=90")
for i in range(${POINTS}):
  c.execute("INSERT INTO runs(id,target_id,started_at,finished_at,status,total,success,fail,log_file) VALUES(?,7,?,?,'completed',2,1,1,?)",(100+i,T+i*60,T+i*60+10.4,"/app/data/logs/target_7_x.jsonl"))
  c.execute("INSERT INTO run_models(run_id,target_id,protocol,model,duration,success,transport_success,tool_calls,content,timestamp,error,status_code,route,endpoint) VALUES(?,7,'openai','gpt-4o',?,1,1,'[]','I am gpt-4o',?,NULL,200,'chat','chat')",(100+i,0.5+i/1000,T+i*60+1.2))
  c.execute("INSERT INTO run_models(run_id,target_id,protocol,model,duration,success,transport_success,tool_calls,content,timestamp,error,status_code,route,endpoint) VALUES(?,7,'anthropic','claude-x',0.25,0,1,'[]','',?,'HTTP 500: boom',500,'anthropic','messages')",(100+i,T+i*60+2.2))
c.execute("INSERT INTO runs(id,target_id,started_at,status) VALUES(500,7,?,'running')",(T+${POINTS}*60,))
if gen!="PY":
  c.execute("UPDATE targets SET sort_order=2, selected_models='[\\"gpt-4o\\",\\"claude-x\\"]' WHERE id=7"); c.execute("UPDATE targets SET sort_order=1 WHERE id=3")
  for k,v in (('runtime_api_monitor_token','${TOKEN}'),('visitor_mode_enabled','false'),('log_max_size_mb','77'),('log_cleanup_enabled','false'),('default_interval_min','30')): c.execute("INSERT INTO app_settings VALUES(?,?,?)",(k,v,T))
  h=lambda s: hashlib.sha256(s.encode()).hexdigest()
  c.execute("INSERT INTO proxy_keys(id,name,key_hash,key_prefix,allowed_targets,allowed_models,description,created_at,last_used_at,last_used_target_id) VALUES(3,'bob',?,'sk-AbCdEfGhI','[7]','[\\"relay/a b/gpt-4o\\"]','his key',?,?,7)",(h('sk-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789'),T+.1,T+9))
  c.execute("INSERT INTO proxy_keys(id,name,key_hash,key_prefix,enabled,created_at,revoked_at) VALUES(4,'eve',?,'sk-eveeveeve',0,?,?)",(h('sk-eve'),T+.2,T+5))
c.commit()
if wal: os._exit(0)
c.close()`, path, generation, base_url ?? sim.url, String(enabled), String(leave_wal)]);
}
const digest = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');
const place = (name) => {
  const at = join(dir, name);
  mkdirSync(at, { mode: 0o700 });
  return at;
};
// The daemon as the old system's user starts it: no secret in the environment.
const start = (dataDir) => startDaemon({ dataDir, tokens: false });
// As the admin with the token of old.
const as = (d) => Object.assign(Object.create(d), {
  async api(method, path, body) {
    const r = await d.request(method, path, body, old);
    assert.equal(r.status, 200, `${method} ${path}: ${r.text}`);
    return r.json;
  },
});

test('a first start takes all of it over and goes on from there', async () => {
  const at = place('first'), source = join(at, 'registry.db');
  registry(source, {});
  const was = [digest(source), statSync(source).mtimeMs];
  let process = await start(at);
  let d = as(process);
  assert.match(process.log, /registry\.db taken over generation=GO channels=2 runs=36 rows=70 keys=2 settings=[45]/);
  assert.doesNotMatch(process.out, /amtk-/, 'the old token is not shown, no new one made');

  const { items } = await d.api('GET', '/api/targets');
  assert.deepEqual(items.map((t) => [t.id, t.name, t.sort_order]), [[3, 'never ran', 1], [7, 'relay/a b', 2]]);
  const [never, t] = items;
  assert.deepEqual([never.last_run_at, never.last_status, never.latest_models], [null, null, []]);
  for (const [name, value] of Object.entries({
    base_url: sim.url, enabled: false, interval_min: 15, timeout_s: 12.5, verify_ssl: true, prompt: 'old question', anthropic_version: '2023-06-01', max_models: 3,
    created_at: 1767225600.123, updated_at: 1767225660.5, last_run_at: 1767225600 + POINTS * 60, last_status: 'degraded', last_total: 2, last_success: 1, last_fail: 1, last_success_rate: 50,
    last_error: null, source_url: 'https://shop.example/', visitor_channel_actions_enabled: false, selected_models: ['gpt-4o', 'claude-x'], running: false, queued: false,
    last_log_file: '/app/data/logs/target_7_20260101_010000.jsonl', api_key: `****${OLD_KEY.slice(-4)}`,
  })) assert.deepEqual(t[name], value, name);

  assert.deepEqual(t.latest_models.map((m) => [m.model, m.protocol, m.success, m.duration, m.error]), [['claude-x', 'anthropic', false, 0.25, 'HTTP 500: boom'], ['gpt-4o', 'openai', true, 0.534, null]]);
  const { history } = t.latest_models[1];
  assert.equal(history.length, 30);
  assert.deepEqual(history[0], { success: true, duration: 0.505, timestamp: 1767225600 + 5 * 60 + 1.2, error: null, status_code: 200 });
  assert.deepEqual(history.map((h) => h.timestamp), history.map((h) => h.timestamp).toSorted((a, b) => a - b));
  assert.deepEqual(t.latest_models[0].history.at(-1), { success: false, duration: 0.25, timestamp: 1767225600 + (POINTS - 1) * 60 + 2.2, error: 'HTTP 500: boom', status_code: 500 });

  const { items: all } = await d.api('GET', '/api/targets/7/runs?limit=200');
  assert.deepEqual(all.map((r) => r.id), [500, ...Array.from({ length: POINTS }, (_, i) => 100 + POINTS - 1 - i)]);
  assert.deepEqual([all[0].status, all[0].error], ['error', 'interrupted']);
  assert.deepEqual([all[1].status, all[1].total, all[1].success, all[1].fail, all[1].started_at, all[1].finished_at, all[1].log_file],
    ['completed', 2, 1, 1, 1767225600 + (POINTS - 1) * 60, 1767225600 + (POINTS - 1) * 60 + 10.4, '/app/data/logs/target_7_x.jsonl']);
  const logs = await d.api('GET', '/api/targets/7/logs?run_id=100');
  assert.deepEqual(logs.items.map((r) => [r.model, r.route, r.endpoint, r.content, r.error, r.status_code, r.duration, r.transport_success, r.tool_calls]),
    [['gpt-4o', 'chat', 'chat', 'I am gpt-4o', null, 200, 0.5, true, []], ['claude-x', 'anthropic', 'messages', logs.items[1].content, 'HTTP 500: boom', 500, 0.25, true, []]]);
  assert.ok(!logs.items[1].content);
  assert.equal((await d.api('GET', '/api/targets/7/logs?scope=all')).count, 2 * POINTS);

  const { items: keys } = await d.api('GET', '/api/proxy/keys');
  assert.deepEqual(keys.map((k) => [k.id, k.name, k.key_prefix, k.allowed_target_ids, k.allowed_models, k.description, k.enabled, k.revoked_at, k.last_used_at, k.last_used_target_id]), [
    [4, 'eve', 'sk-eveeveeve', [], [], '', false, 1767225605, null, null], [3, 'bob', 'sk-AbCdEfGhI', [7], ['relay/a b/gpt-4o'], 'his key', true, null, 1767225609, 7]]);
  assert.deepEqual(sql(join(at, 'gatehouse.db'), 'SELECT key_hash FROM proxy_keys WHERE id = 3'), [[[createHash('sha256').update('sk-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789').digest('hex')]]]);
  const settings = (await d.api('GET', '/api/admin/settings')).item;
  assert.deepEqual([settings.log_max_size_mb, settings.log_cleanup_enabled, settings.visitor_mode_enabled], [77, false, false]);
  assert.equal((await process.request('GET', '/api/targets')).status, 401);
  assert.equal((await process.request('POST', '/api/admin/login', { password: TOKEN })).status, 200, 'the token is the password too');

  // The key of old opens the upstream; ids go on behind the largest ever given.
  await d.api('PATCH', '/api/targets/7', { verify_ssl: false });
  await sim.reset();
  const now = await run(d, 7);
  assert.deepEqual([now.last_status, now.last_total, now.latest_models.map((m) => m.history.length)], ['healthy', 2, [30, 30]]);
  assert.ok(now.last_run_id > 500);
  assert.deepEqual(new Set((await asked(sim)).map((r) => r.headers.authorization)), new Set([`Bearer ${OLD_KEY}`]));
  const made = (await d.api('POST', '/api/targets', { name: 'new', base_url: sim.url, api_key: 'k', enabled: false })).item;
  assert.ok(made.id > 90 && made.sort_order === 3);
  const key = (await d.api('POST', '/api/proxy/keys', { name: 'new key' })).item;
  assert.ok(key.id > 4);

  assert.equal((await process.stop()).code, 0);
  assert.deepEqual([digest(source), statSync(source).mtimeMs], was);
  assert.deepEqual(readdirSync(at).filter((n) => n.startsWith('registry.db')), ['registry.db'], 'nothing beside it');
  for (const name of readdirSync(at).filter((n) => n !== 'registry.db' && statSync(join(at, n)).isFile()))
    for (const secret of [OLD_KEY, TOKEN]) assert.ok(!readFileSync(join(at, name), 'latin1').includes(secret), `${secret} in ${name}`);

  // A second start imports nothing, whatever happened to either side.
  sql(source, "UPDATE targets SET name = 'changed behind' WHERE id = 7", "INSERT INTO targets(name,base_url,api_key,created_at,updated_at) VALUES('late','http://h','k',1,1)");
  process = await start(at);
  d = as(process);
  assert.doesNotMatch(process.log, /taken over/);
  assert.deepEqual((await d.api('GET', '/api/targets')).items.map((x) => x.name), ['never ran', 'relay/a b', 'new']);
  assert.equal((await runs(d, 7)).length, 20);
  assert.equal((await d.api('GET', '/api/targets/7/runs?limit=200')).items.length, POINTS + 2);
  await process.stop();
});

test('an overdue channel of the old system is checked by the first start itself', async () => {
  const at = place('due');
  registry(join(at, 'registry.db'), { enabled: 1 });
  await sim.reset();
  const process = await start(at), d = as(process);
  const now = await finished(d, 7, 501);
  assert.equal((await runs(d, 7))[0].cause, 'schedule');
  assert.deepEqual([now.last_status, now.last_total], ['healthy', 2]);
  await process.stop();
});

for (const generation of ['PY', 'GO-early', 'GO-later']) {
  test(`generation ${generation}`, async () => {
    const at = place(generation), source = join(at, 'registry.db');
    registry(source, { generation });
    const was = digest(source);
    const process = await startDaemon({ dataDir: at });
    assert.match(process.log, new RegExp(`taken over generation=${generation} channels=2 runs=36 rows=70 keys=${generation === 'PY' ? 0 : 2}`));
    const { items } = await process.api('GET', '/api/targets');
    assert.deepEqual(items.map((t) => [t.id, t.sort_order]), [[3, 1], [7, 2]]);
    assert.equal(items[1].latest_models[1].history.length, 30);
    assert.equal((await process.api('GET', '/api/targets/7/logs?scope=all')).count, 70);
    if (generation === 'PY') assert.deepEqual(items[1].selected_models, []);
    await process.stop();
    assert.equal(digest(source), was);
  });
}

test('rows that only stand in the log of the source are taken too', async () => {
  const at = place('wal'), source = join(at, 'registry.db');
  registry(source, { leave_wal: true });
  assert.ok(statSync(`${source}-wal`).size > 0);
  const was = [digest(source), digest(`${source}-wal`)];
  const process = await start(at), d = as(process);
  assert.equal((await d.api('GET', '/api/targets/7/logs?scope=all')).count, 70);
  await process.stop();
  assert.deepEqual([digest(source), digest(`${source}-wal`)], was);
});

test('a source that cannot be read stops the start, each time, until it is dealt with', async () => {
  const good = join(dir, 'good.db');
  registry(good, {});
  const whole = readFileSync(good);
  const broken = {
    garbage: Buffer.from('this is no database\n'.repeat(500)),
    half: whole.subarray(0, whole.length / 2),
    'damaged page': Buffer.concat([whole.subarray(0, 4096), Buffer.alloc(4096 * 3, 0x58), whole.subarray(4096 * 4)]),
    foreign: undefined, // a database of something else
  };
  for (const [what, bytes] of Object.entries(broken)) {
    const at = place(`broken ${what}`), source = join(at, 'registry.db');
    if (bytes) writeFileSync(source, bytes);
    else execFileSync('python3', ['-c', 'import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\nc.execute("CREATE TABLE cats(name)")\nc.commit()', source]);
    const was = digest(source);
    for (const attempt of ['first', 'second']) {
      const r = await runBinary(['serve'], { dataDir: at, tokens: false });
      assert.ok([1, 78].includes(r.code), `${what}, ${attempt}: ${r.code} ${r.stderr}`);
      assert.match(r.stderr, /error .*cannot start: .*registry\.db/, `${what}, ${attempt}`);
      assert.doesNotMatch(r.stdout, /Gatehouse is at/);
    }
    assert.equal(digest(source), was);
    rmSync(source);
    const process = await startDaemon({ dataDir: at });
    assert.deepEqual((await process.api('GET', '/api/targets')).items, []);
    await process.stop();
  }
  // Put right, it is taken over after all.
  const at = place('put right'), source = join(at, 'registry.db');
  writeFileSync(source, broken.half);
  assert.notEqual((await runBinary(['serve'], { dataDir: at, tokens: false })).code, 0);
  writeFileSync(source, whole);
  const process = await start(at);
  assert.equal((await as(process).api('GET', '/api/targets')).items.length, 2);
  await process.stop();
});

test('import --dry-run writes nothing; import writes; again changes nothing; the daemon shows it', async () => {
  const at = join(dir, 'by-command'), source = join(dir, 'elsewhere.db');
  registry(source, { generation: 'GO-later' });
  const was = digest(source);
  const told = /2 channels, 36 runs, 70 results, [45] settings, 2 keys, 0 skipped\n$/;
  const dry = await runBinary(['import', source, '--dry-run'], { dataDir: at, tokens: false });
  assert.deepEqual([dry.code, told.test(dry.stdout), /^would import GO-later: /.test(dry.stdout)], [0, true, true], dry.stdout + dry.stderr);
  if (existsSync(join(at, 'gatehouse.db'))) assert.deepEqual(sql(join(at, 'gatehouse.db'), 'SELECT (SELECT count(*) FROM channels)+(SELECT count(*) FROM runs)+(SELECT count(*) FROM probe_results)+(SELECT count(*) FROM proxy_keys)'), [[[0]]]);
  const real = await runBinary(['import', source], { dataDir: at, tokens: false });
  assert.deepEqual([real.code, told.test(real.stdout), /^imported GO-later: /.test(real.stdout)], [0, true, true], real.stdout + real.stderr);
  const again = await runBinary(['import', source], { dataDir: at, tokens: false });
  assert.equal(again.code, 0, again.stderr);
  const process = await start(at), d = as(process);
  assert.deepEqual((await d.api('GET', '/api/targets')).items.map((t) => [t.id, t.latest_models.length]), [[3, 0], [7, 2]]);
  assert.equal((await d.api('GET', '/api/targets/7/logs?scope=all')).count, 70);
  await until(async () => (await runs(d, 7))[0].status === 'error', 'the end of the run the old system left open');
  await process.stop();
  assert.equal(digest(source), was);
  assert.ok(![dry, real, again].some((r) => (r.stdout + r.stderr).includes(OLD_KEY) || (r.stdout + r.stderr).includes(TOKEN)));
});
