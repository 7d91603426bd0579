// What upstreams are asked, to the last header and member (spec 1 sections 3.2-3.5; rulings 11, 25, 26): routes,
// bodies, keys in turn, choice of models, forms of the base URL, outbound proxies, TLS.
import { test, before, beforeEach, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { join } from 'node:path';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { startDaemon, startSim, tempDir } from '../harness.mjs';
import { admin, asked, create, item, KEY, rows, run } from './channels.mjs';

const BROWSER = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36';
const PROMPT = 'Who are you?\n"Quote" \\ \u{1F600} é';
const servers = [];
let d, sim, dir;

before(async () => {
  dir = tempDir();
  sim = await startSim();
  d = await startDaemon({ env: { MONITOR_DETECT_CONCURRENCY: '1' } });
});
beforeEach(() => sim.reset());
after(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await d?.stop();
  await sim?.stop();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

const models = (...names) => fetch(`${sim.url}/_sim/models`, { method: 'POST', body: JSON.stringify({ models: names }) });
// The probes of one run over these models, by model.
async function probe(names, extra) {
  await models(...names);
  const t = await create(d, sim.url, extra);
  const done = await run(d, t.id);
  const all = await asked(sim);
  assert.deepEqual([all[0].method, all[0].route], ['GET', 'models']);
  return { t, done, list: all[0], probes: all.slice(1) };
}
const common = (r) => ['authorization', 'user-agent', 'accept', 'accept-language', 'content-type', 'host'].map((n) => r.headers[n]);

describe('requests by route', () => {
  const chat = (model) => ({ model, stream: false, max_tokens: 50, messages: [{ role: 'user', content: PROMPT }] });
  const cases = {
    'gpt-4o': ['/v1/chat/completions', chat('gpt-4o'), {}],
    'gpt-5.1': ['/v1/responses', { model: 'gpt-5.1', stream: false, input: [{ role: 'user', content: [{ type: 'input_text', text: PROMPT }] }] }, {}],
    'claude-x': ['/v1/messages', chat('claude-x'), { 'x-api-key': KEY, 'anthropic-version': '2023-06-01' }],
    'gemini-2.5-pro': ['/v1beta/models/gemini-2.5-pro:generateContent', { contents: [{ parts: [{ text: PROMPT }] }], generationConfig: { maxOutputTokens: 10 } }, { 'x-goog-api-key': KEY }],
  };

  test('bodies and headers, value by value', async () => {
    const { list, probes, done } = await probe(Object.keys(cases), { prompt: PROMPT, anthropic_version: '2023-06-01' });
    const host = new URL(sim.url).host;
    assert.deepEqual([list.target, list.body, ...common(list)], ['/v1/models', null, `Bearer ${KEY}`, BROWSER, 'application/json, text/plain, */*', 'en-US,en;q=0.9', undefined, host]);
    assert.equal(probes.length, 4);
    for (const [i, [model, [target, body, own]]] of Object.entries(cases).entries()) {
      const r = probes[i];
      assert.deepEqual([r.method, r.target], ['POST', target], model);
      assert.deepEqual(r.body, body);
      assert.deepEqual(common(r), [`Bearer ${KEY}`, BROWSER, 'application/json, text/plain, */*', 'en-US,en;q=0.9', 'application/json', host], model);
      for (const name of ['x-api-key', 'anthropic-version', 'x-goog-api-key', 'expect', 'cookie', 'transfer-encoding']) assert.equal(r.headers[name], own[name], `${model} ${name}`);
      assert.match(r.headers['accept-encoding'], /gzip/);
      assert.equal(Number(r.headers['content-length']), r.body_bytes);
    }
    assert.equal(done.last_status, 'healthy');
  });

  test('streaming probes ask for a stream and differ in nothing else', async () => {
    const { probes, done } = await probe(Object.keys(cases), { prompt: PROMPT, stream_probe: true });
    for (const [i, [model, [target, body]]] of Object.entries(cases).entries()) {
      assert.equal(probes[i].target, model.startsWith('gemini') ? '/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse' : target);
      assert.deepEqual(probes[i].body, model.startsWith('gemini') ? body : { ...body, stream: true });
      assert.equal(probes[i].stream, true);
    }
    assert.equal(done.last_status, 'healthy');
  });

  test('the route is read from the id behind its first slash', async () => {
    const want = {
      'anthropic/claude-x': 'anthropic', 'a/b/CLAUDE-x': 'anthropic', 'claude/gpt-4o': 'chat', 'gpt-5': 'chat', 'gpt-5.1': 'responses', 'gpt-5.10': 'responses', 'gpt-5.4': 'chat',
      'models/gemini-2.5-pro': 'gemini', 'gemini-embedding-001': 'gemini', 'text-embedding-3-small': 'chat', 'Codex-mini': 'responses', 'xgpt-5.2-pro': 'responses', 'claude-gemini': 'anthropic',
    };
    const { t, probes } = await probe(Object.keys(want));
    const stored = await rows(d, t.id);
    assert.deepEqual(Object.fromEntries(stored.map((r) => [r.model, r.route])), want);
    for (const r of probes.filter((p) => p.body.model)) assert.ok(r.body.model in want, 'the id goes out as it was listed');
  });

  test('odd model ids in a gemini path: each segment encoded, slashes kept', async () => {
    const want = {
      'models/gemini-2.5-pro': 'models/gemini-2.5-pro', 'gemini a+b': 'gemini%20a%2Bb', 'gemini?x=1&y#z': 'gemini%3Fx%3D1%26y%23z', 'gemini:v1;a': 'gemini%3Av1%3Ba', 'gemini%2F': 'gemini%252F',
      'gemini-ü-\u{1F600}': 'gemini-%C3%BC-%F0%9F%98%80', 'x/../gemini': 'x/%2E%2E/gemini', 'x/./gemini': 'x/%2E/gemini', 'x//gemini': 'x//gemini', 'gemini"<b>': 'gemini%22%3Cb%3E', "gemini-_.~!$'()*,@": undefined,
    };
    const { probes } = await probe(Object.keys(want));
    assert.equal(probes.length, Object.keys(want).length);
    for (const [i, [model, path]] of Object.entries(want).entries()) {
      const [, sent] = /^\/v1beta\/models\/(.*):generateContent$/.exec(probes[i].target) ?? [];
      assert.ok(sent, `${model}: ${probes[i].target}`);
      if (path) assert.equal(sent.toUpperCase(), path.toUpperCase(), model);
      assert.equal(decodeURIComponent(sent), model);
    }
  });

  test('hostile ids go out as JSON texts and come back as they are', async () => {
    const names = ['<img src=x onerror=alert(1)>', 'quote"\\back', '\u{1F600} é', "a'; DROP TABLE--"];
    const { t, probes } = await probe(names);
    assert.deepEqual(probes.map((r) => r.body.model), names);
    assert.deepEqual((await rows(d, t.id)).map((r) => r.model), names);
  });
});

describe('fields of the channel', () => {
  test('User-Agent of its own, and back to the global one', async () => {
    const { t, list, probes } = await probe(['m'], { user_agent: 'curl/8.0 (mine)' });
    assert.deepEqual([list, ...probes].map((r) => r.headers['user-agent']), ['curl/8.0 (mine)', 'curl/8.0 (mine)']);
    await d.api('PATCH', `/api/targets/${t.id}`, { user_agent: null });
    await run(d, t.id);
    assert.deepEqual((await asked(sim)).slice(2).map((r) => r.headers['user-agent']), [BROWSER, BROWSER]);
  });

  test('the global User-Agent is an option', async () => {
    const own = await startDaemon({ env: { GATEHOUSE_USER_AGENT: 'house/1' } });
    const t = await create(own, sim.url);
    await run(own, t.id);
    assert.deepEqual(new Set((await asked(sim)).map((r) => r.headers['user-agent'])), new Set(['house/1']));
    await own.stop();
  });

  test('route_overrides send single models elsewhere or nowhere', async () => {
    const { t, probes, done } = await probe(['gpt-4o', 'claude-x', 'embedding', 'mistral'], { route_overrides: { 'gpt-4o': 'responses', 'claude-x': 'chat', embedding: 'skip', mistral: 'gemini', unlisted: 'anthropic' } });
    assert.deepEqual(probes.map((r) => r.target), ['/v1/responses', '/v1/chat/completions', '/v1beta/models/mistral:generateContent']);
    assert.equal(probes[1].headers['x-api-key'], undefined);
    assert.deepEqual([done.last_status, done.last_total], ['healthy', 3]);
    assert.deepEqual((await rows(d, t.id)).map((r) => [r.model, r.route, r.endpoint, r.protocol]), [['gpt-4o', 'responses', 'responses', 'openai'], ['claude-x', 'chat', 'chat', 'openai'], ['mistral', 'gemini', 'gemini', 'gemini']]);
  });

  test('skip_unprobeable leaves out what is no chat model; off, all are asked', async () => {
    const names = ['gpt-4o', 'text-embedding-3-small', 'bge-reranker', 'dall-e-3', 'whisper-1', 'omni-moderation-latest', 'tts-1', 'gpt-image-1', 'claude-x'];
    const on = await probe(names, { skip_unprobeable: true });
    assert.deepEqual(on.probes.map((r) => r.model), ['gpt-4o', 'claude-x']);
    await sim.reset();
    const off = await probe(names);
    assert.deepEqual(off.probes.map((r) => r.model), names);
    await sim.reset();
    const forced = await probe(names, { skip_unprobeable: true, route_overrides: { 'tts-1': 'chat' } });
    assert.deepEqual(forced.probes.map((r) => r.model), ['gpt-4o', 'tts-1', 'claude-x'], 'an override says more');
  });

  test('api_keys are used in turn, in the format\'s own headers too', async () => {
    const keys = [KEY, 'sk-second-key', 'sk-third-key'];
    const { t, list, probes } = await probe(['m1', 'claude-2', 'gemini-3', 'm4'], { api_keys: keys.slice(1) });
    await run(d, t.id);
    const all = [list, ...probes, ...(await asked(sim)).slice(5)];
    assert.equal(all.length, 10);
    const first = keys.indexOf(all[0].headers.authorization.slice(7));
    assert.deepEqual(all.map((r) => r.headers.authorization), all.map((_, i) => `Bearer ${keys[(first + i) % 3]}`), 'over the runs');
    for (const r of all) for (const name of ['x-api-key', 'x-goog-api-key']) if (r.headers[name]) assert.equal(`Bearer ${r.headers[name]}`, r.headers.authorization);
  });

  test('selected_models: exact, in the order of the upstream, doubles as listed', async () => {
    const { probes } = await probe(['c', 'b', 'a', 'B', 'b', 'a '], { selected_models: ['a', 'b', 'zzz'] });
    assert.deepEqual(probes.map((r) => r.model), ['b', 'a', 'b']);
  });

  test('a selection that matches nothing is no_models, in no counter of health', async () => {
    const { t, done, probes } = await probe(['a', 'b'], { selected_models: ['c', 'A'] });
    assert.equal(probes.length, 0);
    assert.deepEqual([done.last_status, done.last_total, done.last_success, done.last_fail, done.last_success_rate, done.last_error], ['no_models', 0, 0, 0, null, null]);
    assert.deepEqual(done.latest_models, []);
    const board = await d.api('GET', '/api/dashboard');
    assert.equal(board.no_models, 1);
    assert.equal((await d.api('GET', `/api/targets/${t.id}/logs`)).run.status, 'completed');
  });

  test('max_models cuts what was selected, skipped ones do not count', async () => {
    const { probes } = await probe(['a', 'b', 'c', 'd', 'e'], { max_models: 2, selected_models: ['b', 'c', 'd', 'e'], route_overrides: { c: 'skip' } });
    assert.deepEqual(probes.map((r) => r.model), ['b', 'd']);
  });
});

describe('answers', () => {
  const told = JSON.stringify({ error: { message: 'This model is only supported in /v1/responses and not in /v1/chat/completions.' } });

  test('a chat probe that is sent to /v1/responses goes there once', async () => {
    await models('m');
    await sim.behave({ route: 'chat', status: 400, body: told });
    const t = await create(d, sim.url);
    const done = await run(d, t.id);
    const probes = (await asked(sim)).slice(1);
    assert.deepEqual(probes.map((r) => [r.target, r.body.model]), [['/v1/chat/completions', 'm'], ['/v1/responses', 'm']]);
    assert.deepEqual(probes[1].body, { model: 'm', stream: false, input: [{ role: 'user', content: [{ type: 'input_text', text: t.prompt }] }] });
    assert.deepEqual([done.last_status, done.last_total], ['healthy', 1]);
    const [row] = await rows(d, t.id);
    assert.deepEqual([row.route, row.endpoint, row.protocol, row.success, row.content], ['responses', 'responses', 'openai', true, 'I am m']);
  });

  test('and nowhere else: not twice, not on another status, not without the words', async () => {
    for (const [behaviours, targets] of [
      [[{ route: 'chat', status: 400, body: told }, { route: 'responses', status: 400, body: told }], ['/v1/chat/completions', '/v1/responses']],
      [[{ route: 'chat', status: 404, body: told }], ['/v1/chat/completions']],
      [[{ route: 'chat', status: 400, body: '{"error":{"message":"no"}}' }], ['/v1/chat/completions']],
    ]) {
      await sim.reset();
      await sim.behave(behaviours);
      const { probes, done } = await probe(['m']);
      assert.deepEqual(probes.map((r) => r.target), targets);
      assert.equal(done.last_status, 'down');
    }
    await sim.reset();
    await sim.behave({ route: 'messages', status: 400, body: told });
    const { probes } = await probe(['claude-x']);
    assert.deepEqual(probes.map((r) => r.target), ['/v1/messages']);
  });

  test('compressed answers are read, of the list too', async () => {
    await sim.behave({ route: '*', fault: 'gzip' });
    const { t, done } = await probe(['m', 'claude-x', 'gemini-x', 'gpt-5.1']);
    assert.deepEqual([done.last_status, done.last_success], ['healthy', 4], JSON.stringify(done.latest_models.map((m) => m.error)));
    assert.deepEqual((await rows(d, t.id)).map((r) => r.content), ['I am m', 'I am claude-x', 'I am gemini-x', 'I am gpt-5.1']);
    const coders = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync };
    for (const [coding, code] of Object.entries(coders)) {
      const server = http.createServer((req, res) => {
        if (!req.headers['accept-encoding'].includes(coding)) return res.end(req.method === 'GET' ? '{"data":[{"id":"m"}]}' : '{"choices":[{"text":"plain"}]}');
        res.setHeader('Content-Encoding', coding);
        res.end(code(req.method === 'GET' ? '{"data":[{"id":"m"}]}' : '{"choices":[{"text":"packed"}]}'));
      });
      const url = await listening(server);
      const own = await create(d, url);
      assert.equal((await run(d, own.id)).last_status, 'healthy', coding);
      server.close();
    }
  });

  test('redirects are told, not followed', async () => {
    await sim.behave({ model: '*', fault: 'redirect', body: `${sim.url}/elsewhere?key=1` });
    const { done, probes } = await probe(['m']);
    assert.equal(probes.length, 1);
    assert.match(done.latest_models[0].error, /^HTTP 30\d: redirects are not followed \(to http:\/\/127\.0\.0\.1:\d+\/elsewhere\)$/);
    await sim.reset();
    await sim.behave({ route: 'models', fault: 'redirect', body: `${sim.url}/elsewhere` });
    const t = await create(d, sim.url);
    assert.match((await run(d, t.id)).last_error, /^GET \/v1\/models failed: HTTP 30\d - redirects are not followed/);
  });
});

describe('base URL', () => {
  test('its forms and where they lead', async () => {
    const forms = {
      '': '', '/': '', '/v1': '', '/V1/': '', '/v1//': '', '///': '', '/api/v1': '/api', '/api/v1/': '/api', '/v1/v1': '/v1', '/xv1': '/xv1', '/v1beta': '/v1beta', '/a/b/c': '/a/b/c', '/a%20b/v1': '/a%20b', '  ': '',
    };
    const seen = [];
    const url = await listening(http.createServer((req, res) => {
      seen.push(req.url);
      req.resume().on('end', () => res.end(req.method === 'GET' ? '{"data":[{"id":"m"},{"id":"gemini-m"}]}' : '{}'));
    }));
    for (const [form, base] of Object.entries(forms)) {
      seen.length = 0;
      const t = await create(d, form === '  ' ? `  ${url}/v1  ` : url + form);
      await run(d, t.id);
      assert.deepEqual(seen, [`${base}/v1/models`, `${base}/v1/chat/completions`, `${base}/v1beta/models/gemini-m:generateContent`], JSON.stringify(form));
    }
  });

  test('query and fragment never reach a path; no scheme, no host, other schemes are refused', async () => {
    for (const tail of ['/v1?x=1', '/?x', '/v1#top']) {
      await sim.reset();
      const r = await d.request('POST', '/api/targets', { name: `tail ${tail.replaceAll('/', '.')}`, base_url: sim.url + tail, api_key: KEY, enabled: false }, admin);
      if (r.status === 400) {
        assert.equal(r.json.field, 'base_url');
        continue;
      }
      await run(d, r.json.item.id);
      assert.equal((await asked(sim))[0].target, '/v1/models');
    }
    for (const base_url of ['h.example/v1', 'http://', 'http:///v1', 'ftp://h.example', 'file:///etc/passwd', 'javascript:alert(1)', '//h.example']) {
      const r = await d.request('POST', '/api/targets', { name: 'refused', base_url, api_key: KEY }, admin);
      assert.deepEqual([r.status, r.json.field], [400, 'base_url'], base_url);
    }
  });
});

function listening(server) {
  servers.push(server);
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`${server instanceof https.Server ? 'https' : 'http'}://127.0.0.1:${server.address().port}`)));
}
// A whole HTTP proxy: absolute targets and CONNECT, counted.
async function startProxy({ refuse = false } = {}) {
  const seen = [];
  const server = http.createServer((req, res) => {
    seen.push([req.method, req.url]);
    const to = new URL(req.url);
    req.pipe(http.request({ host: to.hostname, port: to.port, path: to.pathname + to.search, method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    }));
  });
  server.on('connect', (req, client) => {
    seen.push([req.method, req.url]);
    if (refuse) return client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
    const [host, port] = req.url.split(':');
    const up = net.connect(port, host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      up.pipe(client).pipe(up);
    });
    up.on('error', () => client.destroy());
    client.on('error', () => up.destroy());
  });
  const url = await listening(server);
  return { url, seen, stop: () => { server.closeAllConnections(); server.close(); } };
}
// An upstream behind TLS whose certificate nobody signed.
async function startTls() {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', join(dir, 'up.key'), '-out', join(dir, 'up.crt')], { stdio: 'ignore' });
  let count = 0;
  const server = https.createServer({ key: readFileSync(join(dir, 'up.key')), cert: readFileSync(join(dir, 'up.crt')) }, (req, res) => {
    count++;
    res.setHeader('Content-Type', 'application/json');
    req.resume().on('end', () => res.end(req.method === 'GET' ? '{"data":[{"id":"m"}]}' : '{"choices":[{"message":{"content":"over TLS"}}]}'));
  });
  const url = await listening(server);
  return { url, get count() { return count; } };
}

describe('TLS and proxies', () => {
  test('verify_ssl: a certificate nobody signed fails with its reason, unchecked it works', async () => {
    const up = await startTls();
    const t = await create(d, up.url, { verify_ssl: true });
    const strict = await run(d, t.id);
    assert.equal(strict.last_status, 'error');
    assert.match(strict.last_error, /certificate is (self-signed|not signed by a known authority)$/);
    assert.equal(up.count, 0, 'the key stayed here');
    assert.deepEqual((await d.api('PATCH', `/api/targets/${t.id}`, { verify_ssl: false })).item.warnings, ['certificate is not verified']);
    const lax = await run(d, t.id);
    assert.deepEqual([lax.last_status, (await rows(d, t.id))[0].content], ['healthy', 'over TLS']);
    await d.api('PATCH', `/api/targets/${t.id}`, { verify_ssl: true });
    assert.equal((await run(d, t.id)).last_status, 'error', 'no connection of before is used');
    const trusting = await startDaemon({ env: { GATEHOUSE_CA_FILE: join(dir, 'up.crt') } });
    const known = await create(trusting, up.url, { verify_ssl: true });
    assert.equal((await run(trusting, known.id)).last_status, 'healthy');
    await trusting.stop();
  });

  test('what speaks no TLS on an https address is told so', async () => {
    const t = await create(d, sim.url.replace('http:', 'https:'));
    assert.match((await run(d, t.id)).last_error, /the server does not speak TLS on this port$/);
  });

  test('proxy_url carries list and probes of its channel only', async () => {
    const proxy = await startProxy();
    await models('m');
    const t = await create(d, sim.url, { proxy_url: proxy.url }), other = await create(d, sim.url);
    assert.equal((await run(d, t.id)).last_status, 'healthy');
    assert.equal((await asked(sim)).length, 2);
    assert.equal(proxy.seen.length, 2);
    const through = proxy.seen[0][0] === 'CONNECT' ? [['CONNECT', new URL(sim.url).host], ['CONNECT', new URL(sim.url).host]] : [['GET', `${sim.url}/v1/models`], ['POST', `${sim.url}/v1/chat/completions`]];
    assert.deepEqual(proxy.seen, through);
    assert.equal((await run(d, other.id)).last_status, 'healthy');
    assert.equal(proxy.seen.length, 2);
    await d.api('PATCH', `/api/targets/${t.id}`, { proxy_url: null });
    assert.equal((await run(d, t.id)).last_status, 'healthy');
    assert.equal(proxy.seen.length, 2);
    proxy.stop();
    await d.api('PATCH', `/api/targets/${t.id}`, { proxy_url: proxy.url });
    assert.match((await run(d, t.id)).last_error, /connection refused$/);
  });

  test('https goes through the proxy as a tunnel; what it refuses is told', async () => {
    const [proxy, deaf, up] = [await startProxy(), await startProxy({ refuse: true }), await startTls()];
    const t = await create(d, up.url, { proxy_url: proxy.url });
    assert.equal((await run(d, t.id)).last_status, 'healthy');
    assert.ok(proxy.seen.length >= 1);
    for (const line of proxy.seen) assert.deepEqual(line, ['CONNECT', new URL(up.url).host]);
    await d.api('PATCH', `/api/targets/${t.id}`, { proxy_url: deaf.url });
    assert.match((await run(d, t.id)).last_error, /the proxy refused the connection \(status 403\)$/);
  });

  test('the global proxy is for all channels without one of their own', async () => {
    const [all, own] = [await startProxy(), await startProxy()];
    const house = await startDaemon({ env: { GATEHOUSE_OUTBOUND_PROXY: all.url } });
    const [a, b] = [await create(house, sim.url), await create(house, sim.url, { proxy_url: own.url })];
    await run(house, a.id);
    const counted = all.seen.length;
    await run(house, b.id);
    assert.ok(counted >= 2 && all.seen.length === counted && own.seen.length >= 2);
    assert.equal((await item(house, b.id)).last_status, 'healthy');
    await house.stop();
  });
});
