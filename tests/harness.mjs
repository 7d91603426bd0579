// harness.mjs -- starts the real daemon on a free port with a data directory of its own, and the
// simulated upstreams. Tests wait on conditions, never on time.
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import net from 'node:net';
import { after } from 'node:test';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const binary = process.env.GATEHOUSE_BIN ?? join(root, 'build', 'gatehouse');
export const simBinary = process.env.LLM_SIM_BIN ?? join(root, 'build', 'tools', 'llm-sim', 'llm-sim');
// Sanitizers keep freed memory and slow everything: figures of memory and time are not asserted there.
export const isSanitized = Boolean(process.env.GATEHOUSE_SANITIZED);
export const ADMIN_TOKEN = 'amtk-test-0123456789abcdef';
export const ADMIN_PASSWORD = 'correct horse battery';

// What a failed test left running would keep the file from ending.
const children = new Set();
export function track(child) {
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}
function killAll() {
  for (const child of children) child.kill('SIGKILL');
}
after(killAll);
process.on('exit', killAll);

export function tempDir(name = 'gatehouse') {
  return mkdtempSync(join(tmpdir(), `${name}-`));
}

// Poll `probe` until it returns something truthy; throws with `what` after `ms`.
export async function until(probe, what = 'condition', ms = 20000) {
  const end = Date.now() + ms;
  for (;;) {
    const v = await probe();
    if (v) return v;
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}`);
    await new Promise((r) => setTimeout(r, 15));
  }
}

// Lines of a child's stdout until one matches.
function waitLine(child, pattern, what, ms = 20000) {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => reject(new Error(`${what} did not print ${pattern}: ${text}`)), ms);
    child.stdout.on('data', (d) => {
      text += d;
      const m = pattern.exec(text);
      if (m) {
        clearTimeout(timer);
        resolve(m);
      }
    });
    child.once('error', (e) => {
      clearTimeout(timer);
      reject(e);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`${what} ended early (${code ?? signal}): ${text}${child.err ?? ''}`));
    });
  });
}

function daemonEnv(options) {
  return {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    PORT: '0',
    GATEHOUSE_WORKERS: '2',
    GATEHOUSE_LISTEN: '127.0.0.1:0',
    ...(options.dataDir ? { DATA_DIR: options.dataDir } : {}),
    ...(options.tokens === false ? {} : { API_MONITOR_TOKEN_ADMIN: ADMIN_TOKEN, ADMIN_PANEL_PASSWORD: ADMIN_PASSWORD }),
    ...pick(process.env, ['ASAN_OPTIONS', 'UBSAN_OPTIONS', 'TSAN_OPTIONS']),
    ...options.env,
  };
}

// The binary with these arguments, to its end: {code, signal, stdout, stderr, ms}. Same options as startDaemon.
export function runBinary(args, options = {}) {
  return new Promise((resolve) => {
    const began = performance.now();
    const child = spawn(binary, args, { env: daemonEnv(options), cwd: options.cwd, uid: options.uid, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), options.ms ?? 20000);
    const out = { stdout: '', stderr: '' };
    child.stdout.on('data', (d) => (out.stdout += d));
    child.stderr.on('data', (d) => (out.stderr += d));
    child.once('error', (e) => resolve({ code: null, signal: null, stdout: '', stderr: String(e), ms: 0 }));
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, ...out, ms: performance.now() - began });
    });
  });
}

// options: env, args, dataDir (kept when given), tokens: false leaves the secrets to be generated, wrap: a
// command in front (it must exec), cwd.
export async function startDaemon(options = {}) {
  const dataDir = options.dataDir ?? tempDir();
  const env = daemonEnv({ ...options, dataDir });
  const command = [...(options.wrap ?? []), binary, 'serve', ...(options.args ?? [])];
  const child = track(spawn(command[0], command.slice(1), { env, cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'] }));
  child.err = '';
  child.stderr.on('data', (d) => (child.err += d));
  const exited = new Promise((r) => child.once('exit', (code, signal) => r({ code, signal })));
  child.out = '';
  child.stdout.on('data', (d) => (child.out += d));
  const m = await waitLine(child, options.readyLine ?? /Gatehouse is at\s+(https?:\/\/\S+)[\s\S]*docs\n/, 'gatehouse');
  const url = m[1]?.replace(/\/$/, '').replace('localhost', '127.0.0.1');
  const daemon = {
    child, url, dataDir, exited,
    get log() { return child.err; },
    get out() { return child.out; },
    port: url ? Number(new URL(url).port) : 0,
    request: (method, path, body, headers) => request(url, method, path, body, headers),
    // As the admin: parsed body, throws on another status than wanted.
    async api(method, path, body, want = 200) {
      const r = await request(url, method, path, body, { authorization: `Bearer ${ADMIN_TOKEN}` });
      if (r.status !== want) throw new Error(`${method} ${path}: ${r.status} instead of ${want}: ${r.text}`);
      return r.json;
    },
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const end = await exited;
      if (!options.dataDir) rmSync(dataDir, { recursive: true, force: true });
      return end;
    },
    kill: async () => {
      child.kill('SIGKILL');
      return exited;
    },
  };
  return daemon;
}

function pick(o, names) {
  return Object.fromEntries(names.filter((n) => o[n] !== undefined).map((n) => [n, o[n]]));
}

export async function request(url, method, path, body, headers = {}) {
  const init = { method, headers: { ...headers }, redirect: 'manual' };
  if (body !== undefined) {
    init.body = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    init.headers['content-type'] ??= 'application/json';
  }
  const r = await fetch(url + path, init);
  const text = await r.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: r.status, headers: r.headers, text, json };
}

// Server-Sent Events of `path` as {event, data, id}; close() ends it.
export async function openEvents(url, path, headers = {}) {
  const control = new AbortController();
  const r = await fetch(url + path, { headers, signal: control.signal });
  const events = [];
  const stream = { status: r.status, headers: r.headers, events, closed: false, text: '' };
  const pump = (async () => {
    let rest = '';
    try {
      for await (const piece of r.body.pipeThrough(new TextDecoderStream())) {
        stream.text += piece;
        rest += piece;
        let end;
        while ((end = rest.indexOf('\n\n')) >= 0) {
          const frame = { event: 'message', data: '', id: undefined };
          for (const line of rest.slice(0, end).split('\n')) {
            if (line.startsWith('event: ')) frame.event = line.slice(7);
            else if (line.startsWith('data: ')) frame.data += line.slice(6);
            else if (line.startsWith('id: ')) frame.id = line.slice(4);
          }
          rest = rest.slice(end + 2);
          if (frame.data !== '' || frame.event !== 'message') events.push(frame);
        }
      }
    } catch {
      // aborted by close()
    }
    stream.closed = true;
  })();
  stream.waitFor = (name, match = () => true, ms) =>
    until(() => events.find((e) => e.event === name && match(e)), `event ${name}`, ms);
  stream.close = async () => {
    control.abort();
    await pump;
  };
  return stream;
}

// Our scripted upstream; see tools/llm-sim/README.md for behaviours.
export async function startSim(args = []) {
  const child = track(spawn(simBinary, ['--port', '0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] }));
  child.err = '';
  child.stderr.on('data', (d) => (child.err += d));
  const m = await waitLine(child, /listening 127\.0\.0\.1:(\d+)/, 'llm-sim');
  const url = `http://127.0.0.1:${m[1]}`;
  return {
    url,
    port: Number(m[1]),
    behave: (behaviour) => request(url, 'POST', '/_sim/behaviour', behaviour),
    requests: async () => (await request(url, 'GET', '/_sim/requests')).json,
    stats: async () => (await request(url, 'GET', '/_sim/stats')).json,
    reset: () => request(url, 'POST', '/_sim/reset', {}),
    stop: () => new Promise((r) => { child.once('exit', r); child.kill(); }),
  };
}

// The upstream nobody here wrote.
export async function startAimock() {
  const { LLMock } = await import('@copilotkit/aimock');
  const mock = new LLMock({ port: 0 });
  await mock.start();
  return mock;
}

// Raw bytes over a socket; resolves with all that came until the peer closed (or `done` says enough).
export function raw(port, bytes, { done, host = '127.0.0.1', ms = 15000 } = {}) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, host);
    const chunks = [];
    const finish = () => resolve(Buffer.concat(chunks).toString('latin1'));
    const timer = setTimeout(() => { socket.destroy(); reject(new Error('raw: timed out')); }, ms);
    socket.on('connect', () => { if (bytes.length) socket.write(bytes); });
    socket.on('data', (d) => {
      chunks.push(d);
      if (done?.(Buffer.concat(chunks).toString('latin1'))) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => { clearTimeout(timer); finish(); });
  });
}

export function procStatus(pid, key) {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text)?.[1]);
}


// The answers in raw bytes: [{status, headers, body}], bodies by Content-Length or chunks; HEAD is not known here.
export function answers(text) {
  const list = [];
  while (text.length) {
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) throw new Error(`no answer: ${JSON.stringify(text.slice(0, 200))}`);
    const [line, ...rows] = text.slice(0, end).split('\r\n');
    const m = /^HTTP\/1\.1 (\d{3}) /.exec(line);
    if (!m) throw new Error(`no status line: ${JSON.stringify(line)}`);
    const headers = Object.fromEntries(rows.map((r) => [r.slice(0, r.indexOf(':')).toLowerCase(), r.slice(r.indexOf(':') + 1).trim()]));
    const length = Number(headers['content-length'] ?? 0);
    list.push({ status: Number(m[1]), headers, body: text.slice(end + 4, end + 4 + length) });
    text = text.slice(end + 4 + length);
  }
  return list;
}

// A socket that stays open: send(), text so far, until(pattern), closed.
export function connect(port, { host = '127.0.0.1', path } = {}) {
  const socket = path ? net.connect(path) : net.connect(port, host);
  const c = { socket, text: '', closed: false, send: (bytes) => socket.write(bytes), close: () => socket.destroy() };
  c.opened = new Promise((r) => { socket.once('connect', () => r(true)); socket.once('close', () => r(false)); });
  socket.on('data', (d) => (c.text += d.toString('latin1')));
  socket.on('error', () => {});
  socket.on('close', () => (c.closed = true));
  c.until = (pattern, ms) => until(() => pattern.exec(c.text), `${pattern} in ${JSON.stringify(c.text.slice(-300))}`, ms);
  c.untilClosed = (ms) => until(() => c.closed, `close after ${JSON.stringify(c.text.slice(-300))}`, ms);
  return c;
}

// Signs in with the panel's password: the cookie to send.
export async function login(daemon, password = ADMIN_PASSWORD, headers = {}) {
  const r = await request(daemon.url, 'POST', '/api/admin/login', { password }, headers);
  if (r.status !== 200) throw new Error(`login: ${r.status} ${r.text}`);
  return /api_monitor_admin_session=[0-9a-f]{64}/.exec(r.headers.get('set-cookie'))[0];
}

// A sample of the text format of Prometheus: {name{labels}: value}; throws on what is not that format.
export function parseMetrics(text) {
  const samples = new Map();
  const types = new Map();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    let m = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line);
    if (m) {
      if (m[1] === 'TYPE') {
        if (types.has(m[2])) throw new Error(`second TYPE of ${m[2]}`);
        if (!/^(counter|gauge|histogram|summary|untyped)$/.test(m[3])) throw new Error(line);
        types.set(m[2], m[3]);
      }
      continue;
    }
    m = /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (NaN|[+-]?Inf|[+-]?\d[\d.eE+-]*)$/.exec(line);
    if (!m) throw new Error(`not a sample: ${line}`);
    const family = types.has(m[1]) ? m[1] : m[1].replace(/_(bucket|sum|count)$/, '');
    if (!types.has(family)) throw new Error(`no TYPE before ${line}`);
    const key = m[1] + (m[2] ?? '');
    if (samples.has(key)) throw new Error(`twice: ${key}`);
    samples.set(key, Number(m[3].replace('Inf', 'Infinity')));
  }
  return { samples, types };
}

// Processor time of a process in seconds; the command's name is known and has no blank.
export function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

// SQL on a database file, by Python's module: rows as arrays.
export function sql(file, ...statements) {
  const script = 'import sqlite3,sys,json\nc=sqlite3.connect("file:"+sys.argv[1]+"?mode=rw",uri=True)\nr=[]\nfor s in sys.argv[2:]:\n  r.append([list(x) for x in c.execute(s).fetchall()])\nc.commit()\nprint(json.dumps(r,default=lambda b:b.hex()))';
  return JSON.parse(execFileSync('python3', ['-c', script, file, ...statements], { encoding: 'utf8', maxBuffer: 256 << 20 }));
}

// A port nobody listens on now.
export function closedPort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
