// What the command line prints and answers: its help, what it is made of, each rule of --check-config, the forms
// of its output, and exit codes of clients that are interrupted or cannot write.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { startDaemon, startSim, runBinary, tempDir, until, binary, ADMIN_TOKEN } from '../harness.mjs';

const dir = tempDir();
after(() => rmSync(dir, { recursive: true, force: true }));
const bare = { tokens: false };
const run = (args, options = {}) => runBinary(args, { ...bare, ...options });
const lines = (text) => text.trimEnd().split('\n');

function certificate(name, alt) {
  const at = (end) => join(dir, `${name}.${end}`);
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${alt}`, '-keyout', at('key'), '-out', at('crt')], { stdio: 'ignore' });
  return [at('crt'), at('key')];
}

// The binary on a terminal of 60 columns: what it showed, and its exit code.
function onTerminal(args, env) {
  const script = `
import os,pty,sys,fcntl,termios,struct
pid,fd=pty.fork()
if pid==0:
    fcntl.ioctl(0,termios.TIOCSWINSZ,struct.pack('HHHH',24,60,0,0))
    os.execv(sys.argv[1],sys.argv[1:])
out=b''
while True:
    try: piece=os.read(fd,65536)
    except OSError: break
    if not piece: break
    out+=piece
sys.stdout.buffer.write(out)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))`;
  try {
    return { code: 0, text: execFileSync('python3', ['-c', script, binary, ...args], { env: { PATH: process.env.PATH, ASAN_OPTIONS: process.env.ASAN_OPTIONS ?? '', ...env }, encoding: 'utf8' }) };
  } catch (e) {
    return { code: e.status, text: e.stdout };
  }
}

describe('what it is', () => {
  test('--build-info names the libraries in use and the page', async () => {
    const { stdout, code, stderr } = await run(['--build-info', '--json']);
    assert.deepEqual([code, stderr], [0, '']);
    const info = JSON.parse(stdout);
    assert.deepEqual(Object.keys(info), ['version', 'compiler', 'sanitized', 'libraries', 'page']);
    assert.deepEqual(Object.keys(info.libraries), ['libuv', 'llhttp', 'openssl', 'libcurl', 'sqlite', 'jansson', 'libsodium', 'zlib']);
    for (const [name, version] of Object.entries(info.libraries)) assert.match(version, /^\d+\.\d+/, name);
    assert.match(info.compiler, /^(gcc |.*[Cc]lang )\d/);
    assert.equal(info.page.embedded, info.page.files > 0);
    if (info.page.embedded) assert.match(info.page.sha256, /^[0-9a-f]{64}$/);
    else assert.equal(info.page.sha256, null);
    assert.equal((await run(['--version'])).stdout, `gatehouse ${info.version}\n`);
    const text = (await run(['--build-info'])).stdout;
    for (const [name, version] of Object.entries(info.libraries)) assert.match(text, new RegExp(`^${name} +${version.replaceAll('.', '\\.')}$`, 'm'));
    assert.ok(text.includes(info.page.embedded ? info.page.sha256 : 'not embedded'));
    assert.equal((await run(['--build-info'], { env: { GATEHOUSE_WORKERS: 'many' } })).code, 0, 'whatever the options say');
  });

  test('each command has help of its own', async () => {
    const own = { import: ['--[no-]dry-run', '--data-dir', 'GATEHOUSE_SECRET_KEY'], backup: ['--data-dir'], health: ['--url'], run: ['--url', '--[no-]csv', 'GATEHOUSE_TOKEN'] };
    for (const [name, words] of Object.entries(own)) {
      for (const flag of ['--help', '-h']) {
        const r = await run([name, flag]);
        assert.deepEqual([r.code, r.stderr], [0, '']);
        assert.ok(r.stdout.startsWith(`Usage: gatehouse ${name}`), r.stdout);
        for (const word of [...words, '--[no-]json', 'Exit codes: 0 ']) assert.ok(r.stdout.includes(word), `${name}: ${word}`);
        for (const word of ['--http-head-timeout', '--workers', name === 'run' ? '--dry-run' : '--csv']) assert.ok(!r.stdout.includes(word), `${name}: ${word}`);
        for (const line of lines(r.stdout)) assert.ok(line.length <= 100, line);
      }
    }
    assert.ok((await run(['serve', '--help'])).stdout.includes('--http-head-timeout'));
    assert.match((await run(['--help'])).stdout, /Exit codes: 0 well, 1 failed, 2 wrong usage, 3 .* 4 .*\n.* 78 .* 130 /);
  });

  test('what is not known or not taken: exit 2, nothing on stdout', async () => {
    for (const [args, text] of [
      [['sevre'], "gatehouse: no command 'sevre'; did you mean serve?\n"], [['Backup'], "gatehouse: no command 'Backup'; did you mean backup?\n"], [['frobnicate'], "gatehouse: no command 'frobnicate'; see gatehouse --help\n"],
      [['\x1b[31mx'], "gatehouse: no command '?[31mx'; see gatehouse --help\n"],
      [['run', 'x', '--dry-run'], 'gatehouse: run takes no flag --dry-run; see gatehouse run --help\n'], [['health', '--csv'], 'gatehouse: health takes no flag --csv; see gatehouse health --help\n'],
      [['--json'], 'gatehouse: serve takes no flag --json; see gatehouse serve --help\n'], [['serve', '--url=http://x'], 'gatehouse: serve takes no flag --url; see gatehouse serve --help\n'],
      [['run', 'x', '--json', '--csv'], 'gatehouse: --json and --csv exclude each other\n'],
      [['run'], 'usage: gatehouse run CHANNEL [--json | --csv]\n'], [['run', '--', '-t', '-V'], 'usage: gatehouse run CHANNEL [--json | --csv]\n'],
    ]) {
      const r = await run(args);
      assert.deepEqual([r.code, r.stdout, r.stderr], [2, '', text], args.join(' '));
    }
  });

  test('an output that cannot be written is a failure', async () => {
    for (const args of [['--version'], ['--help'], ['--build-info'], ['--dump-config'], ['run', '-h']]) {
      const child = spawn(binary, args, { stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'] });
      let err = '';
      child.stderr.on('data', (d) => (err += d));
      assert.equal(await new Promise((r) => child.once('close', r)), 1, args.join(' '));
      assert.match(err, /cannot write: No space left/);
    }
  });
});

describe('--check-config', () => {
  test('every fault of flags, environment and rules, each on its line with its origin', async () => {
    const r = await run(['-t', '--port=abc', '--workers=4', '--prot=1', '--base-path=/a b', '--http-head-timeout', '5 parsecs', '--no-listen'], {
      env: { GATEHOUSE_LISTEN: '', GATEHOUSE_WORKERS: 'many', PORT: '70000', GATEHOUSE_TRUSTED_PROXIES: '10.0.0.0/8,300.1.1.1,x', GATEHOUSE_TIMEZONE: 'Mars/Olympus' },
    });
    assert.equal(r.code, 78);
    assert.equal(r.stdout, '');
    assert.deepEqual(lines(r.stderr), [
      "flag --port: 'abc' is not a whole number",
      'unknown option --prot; did you mean --port?',
      "flag --http-head-timeout: '5 parsecs' is not a duration such as 30s or 1h30m",
      'flag --no-listen: is not for an option with a value',
      "environment PORT: '70000' is not in 0..65535",
      'flag --base-path: base_path: character 3 is not allowed',
      "environment GATEHOUSE_TIMEZONE: timezone: no zone 'Mars/Olympus'",
      "environment GATEHOUSE_TRUSTED_PROXIES: trusted_proxies: '300.1.1.1' is no address or CIDR block",
      "environment GATEHOUSE_TRUSTED_PROXIES: trusted_proxies: 'x' is no address or CIDR block",
    ]);
  });

  const proxy = 'must be an http://, https://, socks5:// or socks5h:// URL with a host';
  const many = (n) => Array.from({ length: n }, (_, i) => `10.0.${i}.0/24`).join(',');
  const rules = [
    ['LISTEN', 'nonsense', /^environment GATEHOUSE_LISTEN: listen: /], ['LISTEN', 'tls://127.0.0.1:0', /^environment GATEHOUSE_LISTEN: listen: 'tls:\/\/127\.0\.0\.1:0' needs tls\.cert and tls\.key$/],
    ['LISTEN', Array(17).fill('127.0.0.1:0').join(','), /^environment GATEHOUSE_LISTEN: listen: more than 16 addresses$/],
    ['PUBLIC_URL', 'watch.example', /^environment GATEHOUSE_PUBLIC_URL: public_url: URL must begin with http:\/\/ or https:\/\/$/], ['PUBLIC_URL', 'ftp://x', /public_url: URL must/], ['PUBLIC_URL', 'https://', /public_url: URL has no host$/],
    ['PUBLIC_URL', 'https://me:pw@x/', /public_url: must not contain a user or password$/],
    ['SECRET_KEY', 'fifteen-letters', /^environment GATEHOUSE_SECRET_KEY: secret_key: has 15 characters, not 16 or more$/],
    ['OUTBOUND_PROXY', 'proxy:3128', new RegExp(`^environment GATEHOUSE_OUTBOUND_PROXY: outbound_proxy: ${proxy}$`)], ['OUTBOUND_PROXY', 'socks4://p', new RegExp(proxy)], ['OUTBOUND_PROXY', 'socks5://', new RegExp(proxy)],
    ['OUTBOUND_PROXY', 'socks5://u:secret-word@p', /outbound_proxy: must not contain a user or password$/],
    ['USER_AGENT', 'a\x01b', /^environment GATEHOUSE_USER_AGENT: holds control characters$/], ['USER_AGENT', 'a\r\nX: y', /^environment GATEHOUSE_USER_AGENT: holds control characters$/],
    ['CA_FILE', '/nonexistent.pem', /^environment GATEHOUSE_CA_FILE: ca_file: \/nonexistent\.pem cannot be read: No such file/], ['CA_FILE', dir, /ca_file: .* is no regular file$/],
    ['TLS_CERT', '/nonexistent.pem', /^environment GATEHOUSE_TLS_CERT: tls\.cert: \/nonexistent\.pem cannot be read: No such file/], ['TLS_CERT', '/etc/hostname', /tls\.cert: cannot use the certificate \/etc\/hostname/],
    ['TLS_KEY', '/nonexistent.pem', /^environment GATEHOUSE_TLS_KEY: tls\.key: is given without tls\.cert$/],
    ['EGRESS_DENY', many(65), /^environment GATEHOUSE_EGRESS_DENY: egress\.deny: more than 64 blocks$/], ['EGRESS_ALLOW', many(65), /egress\.allow: more than 64 blocks$/], ['EGRESS_ALLOW', '10.0.0.0/99', /^environment GATEHOUSE_EGRESS_ALLOW: egress\.allow: '10\.0\.0\.0\/99' is no address or CIDR block$/],
    ['TRUSTED_PROXIES', many(65), /trusted_proxies: more than 64 blocks$/], ['URL', 'gatehouse', /^environment GATEHOUSE_URL: url: URL must begin/],
  ];
  for (const [name, value, line] of rules)
    test(`${name}=${value.length > 40 ? `${value.slice(0, 40)}...` : JSON.stringify(value).slice(1, -1)}`, async () => {
      const dataDir = join(dir, 'never');
      for (const args of [['-t'], ['serve']]) {
        const r = await run(args, { dataDir, env: { [`GATEHOUSE_${name}`]: value } });
        assert.equal(r.code, 78, r.stderr);
        assert.deepEqual([r.stdout, lines(r.stderr).length], ['', 1], r.stderr);
        assert.match(lines(r.stderr)[0], line);
        assert.ok(!r.stderr.includes('secret-word') && !r.stderr.includes('fifteen'), r.stderr);
        assert.ok(!existsSync(dataDir), 'nothing is made');
      }
    });

  test('what is good passes', async () => {
    for (const env of [
      { PUBLIC_URL: 'https://watch.example:8443/x/' }, { SECRET_KEY: 'sixteen-letters!' }, { OUTBOUND_PROXY: 'socks5h://[::1]:1080' }, { OUTBOUND_PROXY: 'http://p:3128' }, { TIMEZONE: 'Asia/Taipei' }, { EGRESS_DENY: many(64) }, { TRUSTED_PROXIES: '::1 10.0.0.0/8' }, { USER_AGENT: 'curl/8' },
    ]) {
      const r = await run(['--check-config'], { env: Object.fromEntries(Object.entries(env).map(([k, v]) => [`GATEHOUSE_${k}`, v])) });
      assert.deepEqual([r.code, r.stderr, r.stdout], [0, '', 'configuration is fine\n'], JSON.stringify(env));
    }
    assert.equal((await run(['-t', '--data-dir='])).code, 78);
    assert.equal((await run(['--data-dir='])).code, 2);
  });

  test('certificate and key are read, and must go together', async () => {
    const [crt, key] = certificate('one', 'DNS:one');
    const [, other] = certificate('two', 'DNS:two');
    const both = join(dir, 'both.pem');
    writeFileSync(both, readFileSync(crt, 'utf8') + readFileSync(key, 'utf8'));
    const check = (cert, k) => run(['-t'], { env: { GATEHOUSE_TLS_CERT: cert, ...(k ? { GATEHOUSE_TLS_KEY: k } : {}) } });
    assert.equal((await check(crt, key)).code, 0);
    assert.equal((await check(both)).code, 0);
    for (const [cert, k, line] of [[crt, other, /^environment GATEHOUSE_TLS_CERT: tls\.cert: (the certificate does not go with the key|cannot use the key) .*two\.key/], [crt, undefined, /tls\.cert: cannot use the key .*one\.crt/], [crt, '/nonexistent', /^environment GATEHOUSE_TLS_KEY: tls\.key: \/nonexistent cannot be read/], [key, key, /cannot use the certificate/]]) {
      const r = await check(cert, k);
      assert.equal(r.code, 78);
      assert.match(r.stderr, line);
      assert.equal(lines(r.stderr).length, 1, r.stderr);
    }
  });
});

describe('forms of output', () => {
  let d, sim, env;
  const dataDir = tempDir();
  before(async () => {
    sim = await startSim(['--model', 'gpt-4o', '--model', 'claude-x']);
    d = await startDaemon({ dataDir });
    env = { GATEHOUSE_URL: d.url, GATEHOUSE_TOKEN: ADMIN_TOKEN };
    await d.api('POST', '/api/targets', { name: 'two', base_url: `${sim.url}/v1`, api_key: 'sk-x', enabled: false });
  });
  after(async () => {
    await d?.stop();
    await sim?.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const members = ['model', 'success', 'duration', 'ttfb', 'ttft', 'outcome', 'status_code', 'protocol', 'route', 'error'];

  test('run --json and --csv tell each model; talk stays on stderr', async () => {
    await sim.behave({ model: 'gpt-4o', status: 503, body: '=1+1, "quoted"', times: 9 });
    const json = await run(['run', 'two', '--json'], { env });
    assert.deepEqual([json.code, json.stderr], [1, '']);
    assert.equal(lines(json.stdout).length, 1);
    const doc = JSON.parse(json.stdout);
    assert.deepEqual(Object.keys(doc), ['channel_id', 'channel', 'run_id', 'status', 'success', 'total', 'error', 'models']);
    assert.deepEqual([doc.channel_id, doc.channel, Number.isInteger(doc.run_id), doc.status, doc.success, doc.total], [1, 'two', true, 'degraded', 1, 2]);
    for (const m of doc.models) assert.deepEqual(Object.keys(m), members);
    const by = Object.fromEntries(doc.models.map((m) => [m.model, m]));
    assert.equal(by['claude-x'].success, true);
    assert.equal(by['claude-x'].error, null);
    assert.equal(by['gpt-4o'].success, false);
    assert.equal(by['gpt-4o'].status_code, 503);
    assert.match(by['gpt-4o'].error, /quoted/);
    assert.match(json.stdout, /"duration":\d+(\.\d{1,3})?,/);

    const csv = await run(['run', 'two', '--csv'], { env });
    assert.equal(csv.code, 1);
    const rows = csv.stdout.split('\r\n');
    assert.equal(rows.length, 4);
    assert.equal(rows[0], members.join(','));
    assert.match(rows.find((r) => r.startsWith('claude-x')), /^claude-x,true,\d+(\.\d+)?,.*,200,/);
    assert.match(rows.find((r) => r.startsWith('gpt-4o')), /^gpt-4o,false,.*,503,.*""quoted""/);
    await sim.reset();
    const good = await run(['run', '1', '--json'], { env });
    assert.equal(good.code, 0);
    assert.equal(JSON.parse(good.stdout).status, 'healthy');
    const gone = await run(['run', 'nobody', '--json'], { env });
    assert.deepEqual([gone.code, gone.stdout], [1, '']);
    const away = await run(['run', 'two', '--json'], { env: { ...env, GATEHOUSE_URL: 'http://127.0.0.1:1' } });
    assert.deepEqual([away.code, away.stdout], [3, '']);
    const refused = await run(['run', 'two', '--csv'], { env: { ...env, GATEHOUSE_TOKEN: 'wrong' } });
    assert.deepEqual([refused.code, refused.stdout], [4, '']);
  });

  test('on a terminal: names above the columns, cut at its edge, nothing it would obey', async () => {
    await sim.behave({ model: 'gpt-4o', status: 503, body: `long ${'text '.repeat(60)}`, times: 9 });
    const wide = await run(['run', 'two'], { env });
    assert.ok(lines(wide.stdout).some((l) => l.length > 100), 'a pipe is not cut');
    const columns = lines(wide.stdout).filter((l) => /gpt-4o/.test(l)).map((l) => [l.indexOf('gpt-4o'), l.indexOf('gpt-4o    ')]);
    assert.deepEqual(columns, [[17, 17]], 'padded to the widest name');
    await sim.behave({ model: 'gpt-4o', status: 503, body: `long ${'text '.repeat(60)}`, times: 9 });
    const r = onTerminal(['run', 'two'], env);
    await sim.reset();
    assert.equal(r.code, 1, r.text);
    const shown = lines(r.text.replaceAll('\r', ''));
    assert.match(shown[0], /^ +time +model +error$/);
    for (const line of shown.filter((l) => /^(ok|FAIL)/.test(l))) assert.ok(line.length <= 60, line);
    assert.equal(shown[0].indexOf('model'), shown.find((l) => /claude-x/.test(l)).indexOf('claude-x'));
    assert.equal(shown[0].indexOf('error'), shown.find((l) => /gpt-4o/.test(l)).search(/\S+$|(?<=gpt-4o +)\S/));
    await d.api('POST', '/api/targets', { name: 'hostile', base_url: `${sim.url}/v1`, api_key: 'sk-x', enabled: false });
    await sim.behave({ model: '*', status: 500, body: 'red \x1b[31m \x07 \u009b31m end', times: 9 });
    for (const text of [onTerminal(['run', 'hostile'], env).text, (await run(['run', 'hostile'], { env })).stdout]) {
      assert.match(text, /FAIL/);
      assert.doesNotMatch(text, /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/);
    }
    await sim.reset();
  });

  test('health: the document, or lines on a terminal', async () => {
    const r = await run(['health', '--json'], { env });
    assert.deepEqual(Object.keys(JSON.parse(r.stdout)), ['ok', 'running_targets', 'store', 'version']);
    assert.equal((await run(['health'], { env })).stdout, r.stdout, 'a pipe gets it anyway');
    const seen = onTerminal(['health'], env);
    assert.equal(seen.code, 0);
    assert.deepEqual(lines(seen.text.replaceAll('\r', '')).slice(0, 2), ['health     ok', 'store      ok']);
    assert.equal(onTerminal(['health', '--json'], env).text.trimEnd(), r.stdout.trimEnd());
  });

  test('backup --json names file, size and key', async () => {
    const copy = join(dir, 'copy.db');
    const r = await run(['backup', copy, '--json'], { dataDir });
    assert.equal(r.code, 0, r.stderr);
    assert.deepEqual(JSON.parse(r.stdout), { file: copy, bytes: statSync(copy).size, key_file: join(dataDir, 'secret.key') });
    assert.match(r.stderr, /secret\.key/);
    const again = await run(['backup', copy, '--json'], { dataDir });
    assert.deepEqual([again.code, again.stdout], [1, '']);
  });

  test('import --json counts', async () => {
    const source = join(dir, 'registry.db');
    execFileSync('python3', ['-c', `
import sqlite3,sys
c=sqlite3.connect(sys.argv[1])
c.executescript("""
CREATE TABLE targets(id INTEGER PRIMARY KEY AUTOINCREMENT,name TEXT NOT NULL UNIQUE,base_url TEXT NOT NULL,api_key TEXT NOT NULL,enabled INTEGER NOT NULL DEFAULT 1,interval_min INTEGER NOT NULL DEFAULT 30,timeout_s REAL NOT NULL DEFAULT 30.0,verify_ssl INTEGER NOT NULL DEFAULT 0,prompt TEXT NOT NULL DEFAULT 'p',anthropic_version TEXT NOT NULL DEFAULT '2025-09-29',max_models INTEGER NOT NULL DEFAULT 0,created_at REAL NOT NULL,updated_at REAL NOT NULL,last_run_at REAL,last_status TEXT,last_total INTEGER,last_success INTEGER,last_fail INTEGER,last_log_file TEXT,last_error TEXT,source_url TEXT,sort_order INTEGER NOT NULL DEFAULT 0,visitor_channel_actions_enabled INTEGER NOT NULL DEFAULT 0,selected_models TEXT NOT NULL DEFAULT '[]');
CREATE TABLE runs(id INTEGER PRIMARY KEY AUTOINCREMENT,target_id INTEGER NOT NULL,started_at REAL NOT NULL,finished_at REAL,status TEXT NOT NULL,total INTEGER NOT NULL DEFAULT 0,success INTEGER NOT NULL DEFAULT 0,fail INTEGER NOT NULL DEFAULT 0,log_file TEXT,error TEXT);
CREATE TABLE run_models(id INTEGER PRIMARY KEY AUTOINCREMENT,run_id INTEGER NOT NULL,target_id INTEGER NOT NULL,protocol TEXT,model TEXT,stream INTEGER NOT NULL DEFAULT 0,duration REAL,success INTEGER NOT NULL DEFAULT 0,transport_success INTEGER NOT NULL DEFAULT 0,tool_calls_count INTEGER NOT NULL DEFAULT 0,tool_calls TEXT,content TEXT,timestamp REAL,error TEXT,status_code INTEGER,route TEXT,endpoint TEXT);
CREATE TABLE app_settings(key TEXT PRIMARY KEY,value TEXT NOT NULL,updated_at REAL NOT NULL);
CREATE TABLE proxy_keys(id INTEGER PRIMARY KEY AUTOINCREMENT,name TEXT NOT NULL,key_hash TEXT NOT NULL UNIQUE,key_prefix TEXT NOT NULL,allowed_targets TEXT NOT NULL DEFAULT '[]',allowed_models TEXT NOT NULL DEFAULT '[]',description TEXT NOT NULL DEFAULT '',enabled INTEGER NOT NULL DEFAULT 1,created_at REAL NOT NULL,revoked_at REAL,last_used_at REAL,last_used_target_id INTEGER);
INSERT INTO targets(id,name,base_url,api_key,created_at,updated_at) VALUES(7,'old','http://127.0.0.1:59999/v1','sk-old',1767225600,1767225600);
""")
c.commit()`, source]);
    const place = join(dir, 'imported');
    const dry = JSON.parse((await run(['import', source, '--dry-run', '--json'], { dataDir: place })).stdout);
    assert.deepEqual(Object.keys(dry), ['dry_run', 'generation', 'channels', 'runs', 'results', 'settings', 'keys', 'skipped', 'visitor_mode_open']);
    assert.deepEqual([dry.dry_run, dry.channels, dry.skipped], [true, 1, 0]);
    const real = await run(['import', source, '--json'], { dataDir: place });
    assert.equal(real.code, 0, real.stderr);
    assert.deepEqual(JSON.parse(real.stdout), { ...dry, dry_run: false });
    const none = await run(['import', join(dir, 'nothing'), '--json'], { dataDir: place });
    assert.deepEqual([none.code, none.stdout], [1, '']);
  });

  test('a client that is interrupted exits 130', async () => {
    await sim.behave({ model: 'gpt-4o', fault: 'hang-head' });
    const child = spawn(binary, ['run', 'two'], { env: { PATH: process.env.PATH, ...env }, stdio: 'ignore' });
    const ended = new Promise((r) => child.once('exit', (code, signal) => r([code, signal])));
    await until(async () => (await sim.stats()).in_flight > 0, 'the run');
    child.kill('SIGINT');
    assert.deepEqual(await ended, [130, null]);
    await sim.reset();
    await fetch(`${sim.url}/_sim/release`, { method: 'POST' });
    await until(async () => !(await d.api('GET', '/api/targets/1')).item.running, 'the end of the run');
  });
});

test('a database that is none is a failure, not a bad configuration', async () => {
  const place = join(dir, 'foreign');
  mkdirSync(place, { mode: 0o700 });
  writeFileSync(join(place, 'gatehouse.db'), 'this is a letter to my aunt\n'.repeat(50));
  const r = await run(['serve'], { dataDir: place });
  assert.equal(r.code, 1, r.stderr);
  assert.match(r.stderr, /no SQLite database/);
});

test('clients need no file of the daemon: health as a user who may not read the key', { skip: process.getuid() !== 0 }, async () => {
  const [crt, key] = certificate('served', 'IP:127.0.0.1');
  const place = join(dir, 'tls');
  const open = tempDir();
  mkdirSync(place, { mode: 0o700 });
  chmodSync(open, 0o755);
  chownSync(key, 0, 0);
  chmodSync(key, 0o600);
  const d = await startDaemon({ dataDir: place, env: { GATEHOUSE_TLS_CERT: crt, GATEHOUSE_TLS_KEY: key }, readyLine: /Gatehouse is at\s+(https:\/\/\S+)[\s\S]*docs\n/ });
  const env = { GATEHOUSE_TLS_CERT: crt, GATEHOUSE_TLS_KEY: key, GATEHOUSE_LISTEN: `127.0.0.1:${d.port}` };
  const r = await run(['health'], { cwd: open, env, uid: 65534 });
  assert.equal(r.code, 0, r.stderr);
  assert.equal(JSON.parse(r.stdout).ok, true);
  await d.stop();
  rmSync(open, { recursive: true, force: true });
});

const outside = Object.values(networkInterfaces()).flat().find((i) => !i.internal && i.family === 'IPv4')?.address;
test('another machine must show a certificate that holds', { skip: !outside }, async () => {
  const [crt, key] = certificate('far', `IP:${outside}`);
  const d = await startDaemon({ env: { GATEHOUSE_TLS_CERT: crt, GATEHOUSE_TLS_KEY: key, GATEHOUSE_LISTEN: `${outside}:0` }, readyLine: /Gatehouse is at\s+(https:\/\/\S+)[\s\S]*docs\n/ });
  const far = await run(['health', `--url=${d.url}`]);
  assert.equal(far.code, 3, far.stdout);
  assert.match(far.stderr, /not reachable: .*certificate/i);
  const known = await run(['health', `--url=${d.url}`, `--ca-file=${crt}`]);
  assert.equal(known.code, 0, known.stderr);
  await d.stop();
});
