// The command line: help, options, checks, the client commands, and how a data directory that cannot be
// used is refused, with everything in it left as it was.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { startDaemon, startSim, runBinary, tempDir, until, sql, ADMIN_TOKEN, isSanitized } from '../harness.mjs';

const dir = tempDir();
after(() => rmSync(dir, { recursive: true, force: true }));
const bare = { tokens: false };
const run = (args, options = bare) => runBinary(args, options);

describe('words and options', () => {
  test('-h is short, --help is all, both exit 0 on stdout', async () => {
    const [short, full] = [await run(['-h']), await run(['--help'])];
    for (const r of [short, full]) {
      assert.equal(r.code, 0);
      assert.equal(r.stderr, '');
      for (const word of ['serve', 'import', 'backup', 'health', 'run CHANNEL', '--listen', '--data-dir', '--check-config', 'Examples:', 'GATEHOUSE_ADMIN_TOKEN']) assert.ok(r.stdout.includes(word), word);
      for (const line of r.stdout.split('\n')) assert.ok(line.length <= 100, line);
    }
    assert.ok(!short.stdout.includes('--http-head-timeout'));
    for (const word of ['--http-head-timeout', 'PORT', 'API_MONITOR_TOKEN_ADMIN', 'MONITOR_DETECT_CONCURRENCY', '--sse-heartbeat']) assert.ok(full.stdout.includes(word), word);
    assert.equal((await run(['serve', '--help'])).code, 0);
  });

  test('--version is one line', async () => {
    for (const flag of ['--version', '-V']) {
      const r = await run([flag]);
      assert.equal(r.code, 0);
      assert.match(r.stdout, /^gatehouse \d+\.\d+\.\d+\S*\n$/);
    }
  });

  test('what is not known: exit 2 and the nearest name', async () => {
    for (const [args, text] of [
      [['--data-dri=x'], /unknown option --data-dri; did you mean --data-dir\?/], [['--http-head-timeot', '1s'], /did you mean --http-head-timeout\?/], [['--zzzzzzzz'], /unknown option --zzzzzzzz/], [['sevre'], /no command 'sevre'/],
      [['serve', 'word'], /serve takes no word 'word'/], [['--port'], /port/], [['--port=abc'], /'abc' is not a whole number/], [['--port=99999'], /'99999' is not in 0\.\.65535/], [['--admin-token=x'], /secret is taken from the environment/],
      [['-z'], /-z/], [['backup'], /usage: gatehouse backup FILE/], [['backup', 'a', 'b'], /usage/], [['import'], /usage: gatehouse import FILE/], [['run'], /usage: gatehouse run CHANNEL/], [['health', 'x'], /usage: gatehouse health/],
    ]) {
      const r = await run(args);
      assert.equal(r.code, 2, `${args}: ${r.code} ${r.stderr}`);
      assert.match(r.stderr, text, args.join(' '));
      assert.equal(r.stdout, '');
    }
  });

  test('--check-config: 0, or 78 with every fault on its line', async () => {
    const good = await run(['--check-config'], { ...bare, dataDir: dir });
    assert.deepEqual([good.code, good.stdout], [0, 'configuration is fine\n']);
    const bad = await run(['-t'], { ...bare, env: { GATEHOUSE_LISTEN: 'nonsense', GATEHOUSE_WORKERS: 'many', GATEHOUSE_HTTP_HEAD_TIMEOUT: '5 parsecs', GATEHOUSE_TRUSTED_PROXIES: '300.1.1.1', GATEHOUSE_BASE_PATH: '/a b', GATEHOUSE_TIMEZONE: 'Mars/Olympus', GATEHOUSE_EGRESS_DENY: 'x/y', GATEHOUSE_LOG_LEVEL: 'loud', GATEHOUSE_DRAIN: '2000h' } });
    assert.equal(bad.code, 78);
    for (const text of [/nonsense/, /GATEHOUSE_WORKERS: 'many' is not a whole number/, /GATEHOUSE_HTTP_HEAD_TIMEOUT: '5 parsecs' is not a duration/, /GATEHOUSE_LOG_LEVEL: 'loud' is not one of/, /GATEHOUSE_DRAIN: '2000h' is not in/, /x\/y/, /timezone|Mars/]) assert.match(bad.stderr, text);
    assert.ok(bad.stderr.trimEnd().split('\n').length >= 7, bad.stderr);
    for (const [env, text] of [[{ GATEHOUSE_TRUSTED_PROXIES: '300.1.1.1' }, /trusted_proxies: '300\.1\.1\.1'/], [{ GATEHOUSE_BASE_PATH: '/a b' }, /base_path/], [{ GATEHOUSE_EGRESS_ALLOW: '10.0.0.0/99' }, /10\.0\.0\.0\/99/]]) {
      const r = await run(['--check-config'], { ...bare, env });
      assert.equal(r.code, 78);
      assert.match(r.stderr, text);
    }
    assert.deepEqual(readdirSync(dir), [], 'nothing is made');
    const served = await run(['serve'], { ...bare, dataDir: dir, env: { GATEHOUSE_WORKERS: 'many' } });
    assert.equal(served.code, 78);
    assert.deepEqual(readdirSync(dir), []);
  });

  test('--dump-config: each option, its origin, no secret', async () => {
    const r = await run(['--dump-config', '--http-header-count=50'], { ...bare, env: { API_MONITOR_TOKEN_ADMIN: 'amtk-PLANTED-SECRET-9876', PORT: '1234' } });
    assert.equal(r.code, 0);
    assert.match(r.stdout, /^http\.header_count = 50 {2}# flag --http-header-count$/m);
    assert.match(r.stdout, /^port = 1234 {2}# environment PORT$/m);
    assert.match(r.stdout, /^admin_token = \*\*\*\*9876 {2}# environment API_MONITOR_TOKEN_ADMIN$/m);
    assert.match(r.stdout, /^workers = 2 {2}# environment GATEHOUSE_WORKERS$/m);
    assert.ok(!r.stdout.includes('PLANTED'));
  });

  test('flag over environment; GATEHOUSE_* over the old name', async () => {
    const r = await run(['--dump-config', '--log-level=warn'], { ...bare, env: { GATEHOUSE_LOG_LEVEL: 'debug', PORT: '1', GATEHOUSE_PORT: '2', API_MONITOR_TOKEN: 'old-old-old-old', API_MONITOR_TOKEN_ADMIN: 'new-new-new-1234' } });
    assert.match(r.stdout, /^log\.level = warn /m);
    assert.match(r.stdout, /^port = 2 {2}# environment GATEHOUSE_PORT$/m);
    assert.match(r.stdout, /^admin_token = \*\*\*\*1234 /m);
  });

  test('numbers of systems 1 and 2 that make no sense are warned of and ignored', async () => {
    for (const [name, option, value, kept] of [['PORT', 'port', 'abc', '8081'], ['PORT', 'port', '-5', '8081'], ['MONITOR_DETECT_CONCURRENCY', 'detect_concurrency', '0', '3'], ['MONITOR_MAX_PARALLEL_TARGETS', 'max_parallel_targets', 'x', '2'], ['DEFAULT_INTERVAL_MIN', 'default_interval_min', '2000', '30'], ['LOG_MAX_SIZE_MB', 'log_max_size_mb', '-1', '500']]) {
      const r = await run(['--dump-config'], { ...bare, env: { PORT: '', [name]: value } });
      assert.equal(r.code, 0, r.stderr);
      assert.match(r.stdout, new RegExp(`^${option} = ${kept} `, 'm'), name);
      assert.match(r.stderr, new RegExp(`^warning: ${name}: .*ignored$`, 'm'));
    }
    const slip = await run(['--dump-config'], { ...bare, env: { GATEHOUSE_DATA_DRI: 'x' } });
    assert.match(slip.stderr, /warning: GATEHOUSE_DATA_DRI is not known; did you mean GATEHOUSE_DATA_DIR\?/);
    assert.equal((await run(['-t'], { ...bare, env: { PORT: '70000' } })).code, 78);
  });
});

test('starts with nothing but environment variables, in any directory', async () => {
  const cwd = tempDir();
  const d = await startDaemon({ cwd, env: { DATA_DIR: '', GATEHOUSE_DATA_DIR: '' }, tokens: false });
  assert.ok(existsSync(join(cwd, 'data', 'gatehouse.db')), 'data/ below the working directory');
  assert.equal((await d.request('GET', '/health')).status, 200);
  await d.stop();
  rmSync(cwd, { recursive: true, force: true });
});

describe('client commands', () => {
  let d, sim;
  const dataDir = tempDir();
  const ask = (args, env = {}) => run(args, { ...bare, env: { GATEHOUSE_URL: d.url, ...env } });
  before(async () => {
    sim = await startSim(['--model', 'gpt-4o', '--model', 'claude-x']);
    d = await startDaemon({ dataDir });
    for (const [name, base_url] of [['works', `${sim.url}/v1`], ['fails', 'http://127.0.0.1:59999/v1']]) await d.api('POST', '/api/targets', { name, base_url, api_key: 'sk-x', enabled: false, timeout_s: 5 });
    await d.api('POST', '/api/targets', { name: 'half', base_url: `${sim.url}/v1`, api_key: 'sk-x', enabled: false, selected_models: ['gpt-4o', 'broken'] });
  });
  after(async () => {
    await d?.stop();
    await sim?.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  test('health: 0, or 3 when nobody answers', async () => {
    const r = await ask(['health']);
    assert.equal(r.code, 0, r.stderr);
    assert.equal(JSON.parse(r.stdout).ok, true);
    const none = await run(['health'], { ...bare, env: { GATEHOUSE_URL: 'http://127.0.0.1:1/' } });
    assert.equal(none.code, 3);
    assert.match(none.stderr, /not reachable/);
    assert.equal(none.stdout, '');
    assert.equal((await run(['health'], { ...bare, env: { GATEHOUSE_LISTEN: `127.0.0.1:${d.port}` } })).code, 0, 'by the listen address');
    assert.equal((await run(['health'], { ...bare, env: { GATEHOUSE_LISTEN: '', PORT: String(d.port) } })).code, 0, 'by the port');
    assert.equal((await run(['health', `--url=${d.url}/`], bare)).code, 0, 'by a flag');
  });

  test('run: 0 with each model, 1 when one fails, 3, 4', async () => {
    const token = { GATEHOUSE_TOKEN: ADMIN_TOKEN };
    const ok = await ask(['run', 'works'], token);
    assert.equal(ok.code, 0, ok.stderr + ok.stdout);
    assert.match(ok.stdout, /^ok +[\d.]+ s {2}claude-x$/m);
    assert.match(ok.stdout, /^ok +[\d.]+ s {2}gpt-4o$/m);
    assert.match(ok.stdout, /^healthy: 2 of 2 models answered$/m);
    assert.equal((await ask(['run', '1'], { API_MONITOR_TOKEN_ADMIN: ADMIN_TOKEN })).code, 0, 'by id');
    await sim.behave({ model: 'gpt-4o', status: 500 });
    const half = await ask(['run', 'half'], token);
    await sim.reset();
    assert.equal(half.code, 1);
    assert.match(half.stdout, /^FAIL .*gpt-4o/m);
    const failed = await ask(['run', 'fails'], token);
    assert.equal(failed.code, 1);
    assert.match(failed.stdout, /^error: /m);
    const unknown = await ask(['run', 'nobody'], token);
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /no channel 'nobody'/);
    assert.equal((await ask(['run', 'works'], { GATEHOUSE_TOKEN: 'wrong' })).code, 4);
    assert.equal((await run(['run', 'works'], { ...bare, env: { ...token, GATEHOUSE_URL: 'http://127.0.0.1:1' } })).code, 3);
  });

  test('backup of a running system opens and has everything; never over a file', async () => {
    const copy = join(dir, 'copy.db');
    const r = await run(['backup', copy], { ...bare, dataDir });
    assert.equal(r.code, 0, r.stderr);
    assert.equal(r.stdout, `${copy}\n`);
    assert.match(r.stderr, /secret\.key/);
    assert.deepEqual(sql(copy, 'PRAGMA integrity_check', 'SELECT name FROM channels ORDER BY id'), [[['ok']], [['works'], ['fails'], ['half']]]);
    assert.equal(statSync(copy).mode & 0o077, 0);
    writeFileSync(join(dir, 'precious'), 'precious');
    const over = await run(['backup', join(dir, 'precious')], { ...bare, dataDir });
    assert.equal(over.code, 1);
    assert.equal(readFileSync(join(dir, 'precious'), 'utf8'), 'precious');
    assert.equal((await run(['backup', '/nonexistent/x.db'], { ...bare, dataDir })).code, 1);
    assert.equal((await run(['backup', join(dir, 'y.db')], { ...bare, dataDir: join(dir, 'empty') })).code, 1);
    assert.equal((await d.request('GET', '/health')).json.database, 'ok');
    // a restore: copy and key in a new place
    const place = join(dir, 'restored');
    mkdirSync(place, { mode: 0o700 });
    copyFileSync(copy, join(place, 'gatehouse.db'));
    copyFileSync(join(dataDir, 'secret.key'), join(place, 'secret.key'));
    const again = await startDaemon({ dataDir: place });
    const { items } = await again.api('GET', '/api/targets');
    assert.deepEqual(items.map((i) => i.name), ['works', 'fails', 'half']);
    assert.equal((await again.api('POST', `/api/targets/${items[0].id}/reveal-key`)).api_key, 'sk-x');
    await again.stop();
  });

  test('import while the daemon runs is refused, naming it', async () => {
    const r = await run(['import', 'x.db'], { ...bare, dataDir });
    assert.equal(r.code, 1);
    assert.match(r.stderr, new RegExp(`held by process ${d.child.pid}`));
  });
});

// A registry.db as system 2 wrote it.
function registry(path) {
  execFileSync('python3', ['-c', `
import sqlite3,sys,json,hashlib
c=sqlite3.connect(sys.argv[1])
c.executescript("""
CREATE TABLE targets(id INTEGER PRIMARY KEY AUTOINCREMENT,name TEXT NOT NULL UNIQUE,base_url TEXT NOT NULL,api_key TEXT NOT NULL,enabled INTEGER NOT NULL DEFAULT 1,interval_min INTEGER NOT NULL DEFAULT 30,timeout_s REAL NOT NULL DEFAULT 30.0,verify_ssl INTEGER NOT NULL DEFAULT 0,prompt TEXT NOT NULL DEFAULT 'p',anthropic_version TEXT NOT NULL DEFAULT '2025-09-29',max_models INTEGER NOT NULL DEFAULT 0,created_at REAL NOT NULL,updated_at REAL NOT NULL,last_run_at REAL,last_status TEXT,last_total INTEGER,last_success INTEGER,last_fail INTEGER,last_log_file TEXT,last_error TEXT,source_url TEXT,sort_order INTEGER NOT NULL DEFAULT 0,visitor_channel_actions_enabled INTEGER NOT NULL DEFAULT 0,selected_models TEXT NOT NULL DEFAULT '[]');
CREATE TABLE runs(id INTEGER PRIMARY KEY AUTOINCREMENT,target_id INTEGER NOT NULL,started_at REAL NOT NULL,finished_at REAL,status TEXT NOT NULL,total INTEGER NOT NULL DEFAULT 0,success INTEGER NOT NULL DEFAULT 0,fail INTEGER NOT NULL DEFAULT 0,log_file TEXT,error TEXT);
CREATE TABLE run_models(id INTEGER PRIMARY KEY AUTOINCREMENT,run_id INTEGER NOT NULL,target_id INTEGER NOT NULL,protocol TEXT,model TEXT,stream INTEGER NOT NULL DEFAULT 0,duration REAL,success INTEGER NOT NULL DEFAULT 0,transport_success INTEGER NOT NULL DEFAULT 0,tool_calls_count INTEGER NOT NULL DEFAULT 0,tool_calls TEXT,content TEXT,timestamp REAL,error TEXT,status_code INTEGER,route TEXT,endpoint TEXT);
CREATE TABLE app_settings(key TEXT PRIMARY KEY,value TEXT NOT NULL,updated_at REAL NOT NULL);
CREATE TABLE proxy_keys(id INTEGER PRIMARY KEY AUTOINCREMENT,name TEXT NOT NULL,key_hash TEXT NOT NULL UNIQUE,key_prefix TEXT NOT NULL,allowed_targets TEXT NOT NULL DEFAULT '[]',allowed_models TEXT NOT NULL DEFAULT '[]',description TEXT NOT NULL DEFAULT '',enabled INTEGER NOT NULL DEFAULT 1,created_at REAL NOT NULL,revoked_at REAL,last_used_at REAL,last_used_target_id INTEGER);
""")
c.execute("INSERT INTO targets(id,name,base_url,api_key,enabled,created_at,updated_at,last_run_at,last_status,last_total,last_success,last_fail) VALUES(7,'old relay','http://127.0.0.1:59999/v1','sk-PLANTED-OLD-KEY',0,1767225600.1,1767225600.1,1767229200.4,'degraded',2,1,1)")
c.execute("INSERT INTO runs(id,target_id,started_at,finished_at,status,total,success,fail) VALUES(42,7,1767229190.0,1767229200.4,'completed',2,1,1)")
for m,s in (('gpt-4o',1),('claude',0)): c.execute("INSERT INTO run_models(run_id,target_id,protocol,model,duration,success,timestamp,status_code) VALUES(42,7,'openai',?,0.8,?,1767229191.2,200)",(m,s))
for k,v in (('runtime_api_monitor_token','amtk-of-the-old-system-0001'),('visitor_mode_enabled','true'),('log_max_size_mb','77')): c.execute("INSERT INTO app_settings VALUES(?,?,1767225600.1)",(k,v))
c.execute("INSERT INTO proxy_keys(id,name,key_hash,key_prefix,created_at) VALUES(3,'bob',?,'sk-AbCdEfGhI',1767225600.1)",(hashlib.sha256(b'sk-AbCdEfGhI123').hexdigest(),))
c.commit()`, path]);
}
const digest = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');

describe('taking over a registry.db', () => {
  test('import --dry-run tells and writes nothing, import writes, again changes nothing', async () => {
    const [source, dataDir] = [join(dir, 'registry-import.db'), join(dir, 'imported')];
    registry(source);
    const was = digest(source);
    const dry = await run(['import', source, '--dry-run'], { ...bare, dataDir });
    assert.equal(dry.code, 0, dry.stderr);
    assert.match(dry.stdout, /^would import .*: 1 channels, 1 runs, 2 results, \d+ settings, 1 keys, 0 skipped\n$/);
    assert.deepEqual(sql(join(dataDir, 'gatehouse.db'), 'SELECT count(*) FROM channels'), [[[0]]]);
    const real = await run(['import', source], { ...bare, dataDir });
    assert.equal(real.code, 0, real.stderr);
    assert.match(real.stdout, /^imported .*: 1 channels, 1 runs, 2 results, /);
    assert.ok(!(real.stdout + real.stderr).includes('PLANTED'));
    const again = await run(['import', source], { ...bare, dataDir });
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(sql(join(dataDir, 'gatehouse.db'), 'SELECT count(*) FROM channels', 'SELECT count(*) FROM runs', 'SELECT count(*) FROM probe_results'), [[[1]], [[1]], [[2]]]);
    assert.equal(digest(source), was);
    for (const [args, text] of [[['import', '/nonexistent'], /nonexistent/], [['import', dir], /regular file|directory/], [['import', join(dir, 'precious')], /no SQLite database/]]) {
      const r = await run(args, { ...bare, dataDir });
      assert.equal(r.code, 1);
      assert.match(r.stderr, text);
    }
  });

  test('the first start takes it by itself, and its secrets, history and keys hold', async () => {
    const dataDir = join(dir, 'first-start');
    mkdirSync(dataDir);
    registry(join(dataDir, 'registry.db'));
    const was = digest(join(dataDir, 'registry.db'));
    let d = await startDaemon({ dataDir, tokens: false });
    await until(() => /registry\.db taken over/.test(d.log), 'the import');
    assert.match(d.log, /warn .*visitor/);
    assert.doesNotMatch(d.out, /admin token/, 'the old token is the token');
    const old = { authorization: 'Bearer amtk-of-the-old-system-0001' };
    const item = (await d.request('GET', '/api/targets/7', undefined, old)).json.item;
    assert.deepEqual([item.name, item.last_status, item.last_total, item.latest_models.length], ['old relay', 'degraded', 2, 2]);
    assert.equal((await d.request('GET', '/api/targets/7/logs?run_id=42', undefined, old)).json.count, 2);
    assert.equal((await d.request('GET', '/api/admin/settings', undefined, old)).json.item.log_max_size_mb, 77);
    assert.deepEqual((await d.request('GET', '/api/proxy/keys', undefined, old)).json.items.map((k) => [k.id, k.name]), [[3, 'bob']]);
    assert.equal((await d.request('GET', '/api/targets')).status, 200, 'visitor mode as it was');
    await d.stop();
    for (const name of readdirSync(dataDir).filter((n) => /^gatehouse\.db|spool/.test(n) && statSync(join(dataDir, n)).isFile()))
      for (const secret of ['PLANTED-OLD-KEY', 'of-the-old-system']) assert.ok(!readFileSync(join(dataDir, name), 'latin1').includes(secret), `${secret} in ${name}`);
    assert.equal(digest(join(dataDir, 'registry.db')), was);
    d = await startDaemon({ dataDir, tokens: false });
    assert.equal((await d.request('GET', '/api/targets/7', undefined, old)).status, 200);
    assert.doesNotMatch(d.log, /taken over/);
    await d.stop();
  });
});

describe('a data directory that cannot be used', () => {
  // Every file as it was: names, bytes, modes. The lock and the room kept for full disks are nobody's data.
  const shape = (at) => readdirSync(at).filter((n) => n !== 'lock' && n !== 'reserve').sort().map((n) => `${n} ${statSync(join(at, n)).mode} ${statSync(join(at, n)).isFile() ? digest(join(at, n)) : ''}`);
  let template;
  const place = (name) => {
    const at = join(dir, name);
    mkdirSync(at, { mode: 0o700 });
    for (const n of ['gatehouse.db', 'secret.key']) copyFileSync(join(template, n), join(at, n));
    return at;
  };
  before(async () => {
    template = tempDir();
    const d = await startDaemon({ dataDir: template });
    await d.api('POST', '/api/targets', { name: 'kept', base_url: 'http://127.0.0.1:59999/v1', api_key: 'sk-x', enabled: false });
    await d.stop();
  });
  after(() => rmSync(template, { recursive: true, force: true }));

  test('held by another process: exit 1 within a second, naming it', async () => {
    const d = await startDaemon({ dataDir: template });
    const r = await run(['serve'], { dataDir: template });
    assert.equal(r.code, 1);
    assert.ok(r.ms < (isSanitized ? 5000 : 1000), `${r.ms} ms`);
    assert.match(r.stderr, new RegExp(`data directory ${template} is held by process ${d.child.pid} since \\d{4}-`));
    assert.equal((await d.request('GET', '/api/health')).json.ok, true);
    await d.kill();
    const next = await startDaemon({ dataDir: template }); // the kernel let go of it
    await next.stop();
  });

  const damage = {
    'a damaged header': [(f) => { const b = readFileSync(f); b.fill(0x58, 0, 16); writeFileSync(f, b); }, /no SQLite database, or its header is damaged/],
    'a damaged page': [(f) => { const b = readFileSync(f); b.fill(0x58, 4096, 4096 * 12); writeFileSync(f, b); }, /is damaged/],
    'half a file': [(f) => truncateSync(f, statSync(f).size / 2), /is damaged/],
    'a foreign file': [(f) => writeFileSync(f, 'this is a letter to my aunt\n'.repeat(50)), /no SQLite database/],
    'a foreign database': [(f) => sql(f, 'PRAGMA application_id = 4711'), /database of another program \(application id 0x00001267\)/],
    'a newer schema': [(f) => sql(f, 'PRAGMA user_version = 9999'), /has schema version 9999, this program knows \d+; nothing was changed\. Install a newer gatehouse/],
    'a directory': [(f) => { rmSync(f); mkdirSync(f); }, /no regular file/],
    'a log without its database': [(f) => { copyFileSync(f, `${f}-wal`); rmSync(f); }, /is missing or empty, but its log .*-wal has content/],
    'a wrong key': [(f) => writeFileSync(join(f, '..', 'secret.key'), `${'0'.repeat(64)}\n`), /secret\.key|key/],
  };
  for (const [name, [spoil, text]] of Object.entries(damage)) {
    test(`${name}: said clearly, nothing touched`, async () => {
      const at = place(name.replaceAll(' ', '-'));
      spoil(join(at, 'gatehouse.db'));
      const was = shape(at);
      const r = await run(['serve'], { dataDir: at });
      assert.ok([1, 78].includes(r.code), `${r.code} ${r.stderr}`);
      assert.match(r.stderr, text);
      assert.match(r.stderr, /error \[app\] cannot start: /);
      assert.deepEqual(shape(at), was);
    });
  }

  test('read-only, for a user who is not root', async (t) => {
    if (process.getuid() !== 0) return t.skip('needs root to become somebody else');
    const at = place('read-only');
    const nobody = 65534;
    chmodSync(dir, 0o755);
    for (const n of ['gatehouse.db', 'secret.key', '.']) chownSync(join(at, n), nobody, nobody);
    chmodSync(join(at, 'gatehouse.db'), 0o400);
    const was = shape(at);
    const file = await run(['serve'], { dataDir: at, uid: nobody });
    assert.equal(file.code, 1, file.stderr);
    assert.match(file.stderr, /gatehouse\.db cannot be written/);
    assert.deepEqual(shape(at), was);
    chmodSync(at, 0o500);
    rmSync(join(at, 'lock'), { force: true });
    const folder = await run(['serve'], { dataDir: at, uid: nobody });
    assert.equal(folder.code, 1);
    assert.match(folder.stderr, /cannot be (locked|written|made)/);
    const other = join(dir, 'of-root');
    mkdirSync(other, { mode: 0o700 });
    const foreign = await run(['serve'], { dataDir: other, uid: nobody });
    assert.equal(foreign.code, 1);
    assert.match(foreign.stderr, /of-root/);
    assert.deepEqual(readdirSync(other), []);
  });

  test('a file where the directory should be; a path below a file', async () => {
    for (const at of [join(dir, 'precious'), join(dir, 'precious', 'x')]) {
      const r = await run(['serve'], { dataDir: at });
      assert.ok([1, 78].includes(r.code), r.stderr);
      assert.match(r.stderr, /precious/);
    }
  });
});
