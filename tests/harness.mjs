// harness.mjs -- starts the real daemon on a free port with a data directory of its own, and the
// simulated upstreams. Tests wait on conditions, never on time.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import net from 'node:net';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const binary = process.env.GATEHOUSE_BIN ?? join(root, 'build', 'gatehouse');
export const simBinary = process.env.LLM_SIM_BIN ?? join(root, 'build', 'tools', 'llm-sim', 'llm-sim');
export const ADMIN_TOKEN = 'amtk-test-0123456789abcdef';
export const ADMIN_PASSWORD = 'correct horse battery';

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
      child.out = text;
      const m = pattern.exec(text);
      if (m) {
        clearTimeout(timer);
        resolve(m);
      }
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`${what} ended early (${code ?? signal}): ${text}${child.err ?? ''}`));
    });
  });
}

// options: env, args, dataDir (kept when given), tokens: false leaves the secrets to be generated.
export async function startDaemon(options = {}) {
  const dataDir = options.dataDir ?? tempDir();
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    PORT: '0',
    DATA_DIR: dataDir,
    GATEHOUSE_WORKERS: '2',
    GATEHOUSE_LISTEN: '127.0.0.1:0',
    ...(options.tokens === false ? {} : { API_MONITOR_TOKEN_ADMIN: ADMIN_TOKEN, ADMIN_PANEL_PASSWORD: ADMIN_PASSWORD }),
    ...pick(process.env, ['ASAN_OPTIONS', 'UBSAN_OPTIONS', 'TSAN_OPTIONS']),
    ...options.env,
  };
  const child = spawn(binary, ['serve', ...(options.args ?? [])], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  child.err = '';
  child.stderr.on('data', (d) => (child.err += d));
  const exited = new Promise((r) => child.once('exit', (code, signal) => r({ code, signal })));
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
  const child = spawn(simBinary, ['--port', '0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
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

