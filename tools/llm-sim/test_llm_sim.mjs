// Starts llm-sim (path in argv[2]) and checks each format, rule source, fault and figure. TAP output.
import { spawn } from 'node:child_process';
import net from 'node:net';
import http from 'node:http';
import assert from 'node:assert/strict';

const binary = process.argv[2];
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

function start(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, ['--port', '0', ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    child.once('error', reject);
    child.stdout.once('data', (d) => {
      const m = /^listening 127\.0\.0\.1:(\d+)\n$/.exec(String(d));
      if (m) resolve({ child, port: Number(m[1]) });
      else reject(new Error(`unexpected first line ${d}`));
    });
  });
}

function call(port, method, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const req = http.request({ host: '127.0.0.1', port, method, path, agent, headers: { ...(text !== undefined ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {}), ...headers } }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('end', () => {
        const raw = Buffer.concat(parts);
        let json;
        try { json = JSON.parse(raw.toString()); } catch { json = undefined; }
        resolve({ status: res.statusCode, headers: res.headers, raw, text: raw.toString(), json });
      });
      res.on('error', reject);
      res.on('aborted', () => reject(Object.assign(new Error('aborted'), { code: 'ABORTED' })));
    });
    req.on('error', reject);
    req.end(text);
  });
}

// Raw bytes of one answer until the server closes, resets, or `enough` says so.
function raw(port, model, enough = () => false, path = '/v1/chat/completions', extra = '') {
  return new Promise((resolve) => {
    const body = JSON.stringify({ model, messages: [] });
    const s = net.connect(port, '127.0.0.1');
    const parts = [];
    let code = 'end';
    let bytes = 0;
    s.on('data', (d) => { bytes += d.length; if (bytes < 4e6) parts.push(d); if (enough(bytes, d)) { code = 'enough'; s.destroy(); } });
    s.on('error', (e) => { code = e.code; });
    s.on('close', () => resolve({ code, bytes, data: Buffer.concat(parts), text: Buffer.concat(parts).toString('latin1') }));
    s.write(`POST ${path} HTTP/1.1\r\nHost: x\r\n${extra}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  });
}

const events = (text) => text.split(/\r?\n\r?\n/).filter(Boolean).map((e) => {
  const out = { event: undefined, data: '' };
  for (const line of e.split(/\r?\n/)) {
    if (line.startsWith('event: ')) out.event = line.slice(7);
    if (line.startsWith('data: ')) out.data += line.slice(6);
  }
  return out;
});

const tests = [];
const test = (name, fn) => tests.push([name, fn]);
const chat = (p, model, more = {}) => call(p, 'POST', '/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hi' }], ...more });
const stats = async (p) => (await call(p, 'GET', '/_sim/stats')).json;

async function until(fn) {
  for (let i = 0; i < 1000; i++) {
    const v = await fn();
    if (v) return v;
    await new Promise((r) => setTimeout(r, 5));
  }
  throw new Error('never came true');
}

test('lists models in three shapes', async (p) => {
  let r = await call(p, 'GET', '/v1/models');
  assert.equal(r.json.object, 'list');
  assert.deepEqual(r.json.data.map((m) => m.id), ['gpt-4o-mini', 'claude-sonnet-4-5', 'gemini-2.5-flash']);
  r = await call(p, 'GET', '/v1/models', undefined, { 'anthropic-version': '2023-06-01' });
  assert.equal(r.json.has_more, false);
  assert.equal(r.json.data[0].type, 'model');
  for (const path of ['/v1beta/models', '/v1/models?key=x']) {
    r = await call(p, 'GET', path);
    assert.equal(r.json.models[2].name, 'models/gemini-2.5-flash');
  }
});

test('answers chat completions with usage', async (p) => {
  const r = await chat(p, 'gpt-4o;prompt_tokens=100;cached_tokens=40;reasoning_tokens=7;output_tokens=20');
  assert.equal(r.json.object, 'chat.completion');
  assert.match(r.json.choices[0].message.content, /^I am gpt-4o/);
  assert.equal(r.json.usage.total_tokens, 120);
  assert.equal(r.json.usage.prompt_tokens_details.cached_tokens, 40);
  assert.equal(r.json.usage.completion_tokens_details.reasoning_tokens, 7);
  assert.match(r.headers['x-request-id'], /^req_/);
});

test('streams chat completions', async (p) => {
  const r = await chat(p, 'gpt-4o;text=one two three', { stream: true, stream_options: { include_usage: true } });
  const e = events(r.text);
  assert.match(r.headers['content-type'], /^text\/event-stream/);
  assert.equal(e.at(-1).data, '[DONE]');
  const chunks = e.slice(0, -1).map((x) => JSON.parse(x.data));
  assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? '').join(''), 'one two three');
  assert.equal(chunks.at(-1).usage.total_tokens, 13);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-2).choices[0].finish_reason, 'stop');
});

test('answers and streams responses', async (p) => {
  let r = await call(p, 'POST', '/v1/responses', { model: 'gpt-5', input: 'hi' });
  assert.equal(r.json.output[0].content[0].text, 'I am gpt-5');
  assert.equal(r.json.usage.input_tokens, 10);
  r = await call(p, 'POST', '/v1/responses', { model: 'gpt-5', input: 'hi', stream: true });
  const e = events(r.text);
  assert.deepEqual([e[0].event, e.at(-1).event], ['response.created', 'response.completed']);
  assert.equal(e.filter((x) => x.event === 'response.output_text.delta').map((x) => JSON.parse(x.data).delta).join(''), 'I am gpt-5');
  e.forEach((x, i) => assert.equal(JSON.parse(x.data).sequence_number, i));
});

test('answers and streams messages', async (p) => {
  let r = await call(p, 'POST', '/v1/messages', { model: 'claude;prompt_tokens=50;cached_tokens=20;cache_write_tokens=10', messages: [], max_tokens: 5 });
  assert.equal(r.json.content[0].type, 'text');
  assert.equal(r.json.stop_reason, 'end_turn');
  assert.deepEqual([r.json.usage.input_tokens, r.json.usage.cache_read_input_tokens, r.json.usage.cache_creation_input_tokens], [20, 20, 10]);
  r = await call(p, 'POST', '/v1/messages', { model: 'claude;reasoning=hm hm', messages: [], stream: true });
  const e = events(r.text);
  assert.deepEqual([e[0].event, e.at(-1).event], ['message_start', 'message_stop']);
  assert.equal(e.filter((x) => x.event === 'content_block_start').length, 2);
});

test('answers and streams generateContent', async (p) => {
  for (const v of ['v1beta', 'v1']) {
    let r = await call(p, 'POST', `/${v}/models/gemini:8b:generateContent`, { contents: [] });
    assert.equal(r.json.candidates[0].content.parts[0].text, 'I am gemini:8b');
    assert.equal(r.json.usageMetadata.totalTokenCount, 13);
    r = await call(p, 'POST', `/${v}/models/gemini%3Bwords=4:streamGenerateContent?alt=sse`, { contents: [] });
    assert.equal(events(r.text).length, 4);
    r = await call(p, 'POST', `/${v}/models/gemini:streamGenerateContent`, { contents: [] });
    assert.equal(r.json.map((x) => x.candidates[0].content.parts[0].text).join(''), 'I am gemini');
  }
});

test('answers embeddings', async (p) => {
  let r = await call(p, 'POST', '/v1/embeddings', { model: 'e', input: ['a', 'b'] });
  assert.equal(r.json.data.length, 2);
  assert.equal(r.json.data[1].embedding.length, 9);
  r = await call(p, 'POST', '/v1/embeddings', { model: 'e', input: 'a', encoding_format: 'base64' });
  assert.equal(Buffer.from(r.json.data[0].embedding, 'base64').length, 36);
});

test('calls tools', async (p) => {
  const tools = [{ type: 'function', function: { name: 'get_weather', parameters: {} } }];
  let r = await chat(p, 'm', { tools, tool_choice: 'required' });
  assert.equal(r.json.choices[0].message.tool_calls[0].function.name, 'get_weather');
  assert.equal(r.json.choices[0].finish_reason, 'tool_calls');
  r = await chat(p, 'm', { tools, tool_choice: 'required', stream: true });
  const parts = events(r.text).filter((e) => e.data !== '[DONE]').map((e) => JSON.parse(e.data).choices[0].delta.tool_calls?.[0].function.arguments ?? '');
  assert.deepEqual(JSON.parse(parts.join('')), { city: 'Paris' });
  r = await call(p, 'POST', '/v1/messages', { model: 'm', messages: [], tools: [{ name: 'x' }], tool_choice: { type: 'any' } });
  assert.equal(r.json.content[0].type, 'tool_use');
});

test('errors have each vendor\'s shape', async (p) => {
  let r = await chat(p, 'm;status=429;retry_after=7');
  assert.deepEqual([r.status, r.json.error.code, r.headers['retry-after']], [429, 'rate_limit_exceeded', '7']);
  r = await call(p, 'POST', '/v1/messages', { model: 'm;status=529', messages: [] });
  assert.deepEqual([r.status, r.json.type, r.json.error.type], [529, 'error', 'overloaded_error']);
  r = await call(p, 'POST', '/v1beta/models/m;status=503:generateContent', {});
  assert.deepEqual([r.status, r.json.error.code, r.json.error.status], [503, 503, 'UNAVAILABLE']);
  r = await chat(p, 'm;status=418;body=short and stout;type=text/plain');
  assert.deepEqual([r.status, r.text, r.headers['content-type']], [418, 'short and stout', 'text/plain']);
  for (const bad of ['{', '[]', '{"model":7}', '']) assert.equal((await call(p, 'POST', '/v1/chat/completions', bad)).status, 400);
  assert.equal((await chat(p, 'm;fault=nonsense')).status, 400);
  assert.equal((await call(p, 'GET', '/v1/nothing')).status, 404);
});

test('rules by control API, newest first, counted down, reset', async (p) => {
  await call(p, 'POST', '/_sim/behaviour', [{ model: 'a', status: 500 }, { model: 'a', status: 401, times: 2 }, { route: 'messages', status: 403 }]);
  assert.deepEqual([(await chat(p, 'a')).status, (await chat(p, 'a')).status, (await chat(p, 'a')).status, (await chat(p, 'b')).status], [401, 401, 500, 200]);
  assert.equal((await call(p, 'POST', '/v1/messages', { model: 'b' })).status, 403);
  assert.equal((await call(p, 'GET', '/v1/models')).status, 200);
  assert.equal((await call(p, 'GET', '/_sim/behaviour')).json.length, 2);
  await call(p, 'POST', '/_sim/reset');
  assert.equal((await chat(p, 'a')).status, 200);
  for (const bad of [{ fault: 'x' }, { colour: 'red' }, { status: 1 }, { route: 'x' }, [7]]) assert.equal((await call(p, 'POST', '/_sim/behaviour', bad)).status, 400);
});

test('records requests', async (p) => {
  await call(p, 'POST', '/_sim/reset');
  await call(p, 'POST', '/v1/chat/completions?x=1', { model: 'seen' }, { Authorization: 'Bearer sk-1', 'X-Twice': 'a' });
  const r = (await call(p, 'GET', '/_sim/requests?limit=1')).json;
  assert.equal(r.total, 1);
  const [q] = r.requests;
  assert.deepEqual([q.target, q.model, q.route, q.outcome, q.status, JSON.parse(q.body).model], ['/v1/chat/completions?x=1', 'seen', 'chat', 'answered', 200, 'seen']);
  assert.ok(q.headers.some(([k, v]) => k === 'Authorization' && v === 'Bearer sk-1'));
});

test('delays and paces', async (p) => {
  let t = Date.now();
  await chat(p, 'm;delay_ms=60');
  assert.ok(Date.now() - t >= 59);
  t = Date.now();
  await chat(p, 'm;pace_ms=15;words=4', { stream: true });
  assert.ok(Date.now() - t >= 75);
});

test('hangs until released', async (p) => {
  const before = chat(p, 'm;fault=hang-head');
  const mid = chat(p, 'm;fault=hang-body');
  await until(async () => (await stats(p)).in_flight === 2);
  await call(p, 'POST', '/_sim/release');
  assert.equal((await before).status, 200);
  assert.equal((await mid).json.object, 'chat.completion');
  assert.equal((await stats(p)).in_flight, 0);
});

test('counts clients that leave', async (p) => {
  await call(p, 'POST', '/_sim/reset');
  const s = net.connect(p, '127.0.0.1');
  const body = '{"model":"m;fault=hang-body","stream":true}';
  s.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await new Promise((r) => s.once('data', r));
  s.destroy();
  const st = await until(async () => { const v = await stats(p); return v.cancelled === 1 && v; });
  assert.equal(st.cancels.length, 1);
  assert.equal(st.in_flight, 0);
  assert.equal((await call(p, 'GET', '/_sim/requests')).json.requests[0].outcome, 'cancelled');
});

test('resets and closes at a byte', async (p) => {
  let r = await raw(p, 'm;fault=reset;at=0');
  assert.deepEqual([r.code, r.bytes], ['ECONNRESET', 0]);
  r = await raw(p, 'm;fault=reset;at=100');
  assert.deepEqual([r.code, r.bytes], ['ECONNRESET', 100]);
  r = await raw(p, 'm;fault=close;at=57');
  assert.deepEqual([r.code, r.bytes], ['end', 57]);
  r = await raw(p, 'm;fault=close');
  assert.ok(r.text.includes('\r\n\r\n{') && !r.text.endsWith('}'));
});

test('breaks the framing as told', async (p) => {
  const expect = {
    garbage: /^\x16\x03/, 'bad-status': /^HTTP\/1.1 2xx Fine\r\n/, http09: /^\{"id"/, 'lf-only': /^HTTP\/1.1 200 OK\n[^\r]*$/,
    'te-cl': /Content-Length: 6\r\nTransfer-Encoding: chunked/, 'two-lengths': /Content-Length: (\d+)\r\nContent-Length: (?!\1)/,
    'length-over': /"\}$/, 'chunk-cut': /1000\r\nonly a few bytes of a chunk$/, 'chunk-bad': /zz\r\nbroken/, 'no-last-chunk': /\}\r\n$/,
    'header-1m': /X-Long: h{1048576}\r\n/, 'headers-10k': /X-Header-09999: value/,
  };
  for (const [fault, pattern] of Object.entries(expect)) {
    const r = await raw(p, `m;fault=${fault}`);
    assert.equal(r.code, 'end', fault);
    assert.ok(pattern.test(r.text), `${fault}: ${r.text.slice(0, 300)}`);
  }
  const twice = await raw(p, 'm;fault=twice', (n, d) => d.includes('"other"'));
  assert.equal(twice.text.match(/HTTP\/1\.1 200/g).length, 2);
  const early = await chat(p, 'm;fault=early-hints');
  assert.equal(early.status, 200);
  const redirect = await chat(p, 'm;fault=redirect');
  assert.deepEqual([redirect.status, redirect.headers.location], [302, 'http://169.254.169.254/latest/']);
});

test('sends large things without holding them', async (p) => {
  for (const fault of ['big-body', 'endless', 'giant-line']) {
    const r = await raw(p, `m;fault=${fault}`, (n) => n > 20e6);
    assert.equal(r.code, 'enough', fault);
  }
  const bomb = await chat(p, 'm;fault=gzip-bomb;size=8388608');
  const { gunzipSync } = await import('node:zlib');
  assert.equal(bomb.headers['content-encoding'], 'gzip');
  assert.ok(bomb.raw.length < 20000);
  assert.equal(gunzipSync(bomb.raw).length, 8388608);
  const ok = await chat(p, 'm;fault=gzip');
  assert.equal(JSON.parse(gunzipSync(ok.raw)).object, 'chat.completion');
  const invalid = await chat(p, 'm;fault=gzip-invalid');
  assert.throws(() => gunzipSync(invalid.raw));
  const giant = await raw(p, 'm;fault=giant-line;size=1048576', (n, d) => d.includes('0\r\n\r\n'));
  assert.ok(giant.text.endsWith('\r\n2\r\n\n\n\r\n0\r\n\r\n'));
});

test('says odd things under status 200', async (p) => {
  const m = async (fault, more) => (await chat(p, `m;fault=${fault}`, more));
  assert.equal((await m('error-200-success')).json.success, false);
  assert.equal((await m('error-200-code')).json.code, 503);
  assert.equal(typeof (await m('error-200-string')).json.error, 'string');
  assert.equal((await m('error-200-object')).json.error.type, 'server_error');
  assert.deepEqual((await m('empty-choices')).json.choices, []);
  assert.equal((await m('array-content')).json.choices[0].message.content[0].type, 'text');
  assert.equal((await m('null-content')).json.choices[0].message.content, null);
  assert.ok((await m('refusal')).json.choices[0].message.refusal);
  assert.ok((await m('reasoning-only')).json.choices[0].message.reasoning_content);
  assert.equal((await m('length')).json.choices[0].finish_reason, 'length');
  assert.equal((await m('no-usage')).json.usage, undefined);
  assert.equal((await m('empty-body')).text, '');
  for (const f of ['not-json', 'html', 'cut-json', 'depth-bomb']) assert.equal((await m(f)).json, undefined, f);
  assert.ok((await m('bad-utf8')).raw.includes(Buffer.from([0xff, 0xc0, 0x80, 0xed])));
  assert.equal((await m('stream-as-json', { stream: true })).json.object, 'chat.completion');
  assert.match((await m('json-as-stream')).headers['content-type'], /event-stream/);
  assert.ok(!(await m('no-done', { stream: true })).text.includes('[DONE]'));
  assert.match((await m('stream-error', { stream: true })).text, /"error":\{"message":"Overloaded"/);
});

test('lists odd models', async (p) => {
  const m = async (fault) => {
    await call(p, 'POST', '/_sim/behaviour', { route: 'models', fault, times: 1 });
    return call(p, 'GET', '/v1/models');
  };
  assert.equal((await m('not-json')).json, undefined);
  assert.equal((await m('list-no-data')).json.data, undefined);
  assert.deepEqual((await m('list-empty')).json.data, []);
  assert.equal((await m('list-duplicates')).json.data.length, 6);
  assert.equal((await m('list-5000')).json.data.length, 5003);
  const hostile = (await m('list-hostile')).json.data.map((x) => x.id);
  assert.ok(hostile.includes('<img src=x onerror=alert(1)>') && hostile.some((x) => x.includes('\n')) && hostile.some((x) => x.includes('\u{1F999}')));
  assert.equal((await m('list-wrong-types')).json.data[0], 7);
  await call(p, 'POST', '/_sim/models', { models: ['only'] });
  assert.deepEqual((await call(p, 'GET', '/v1/models')).json.data.map((x) => x.id), ['only']);
  await call(p, 'POST', '/_sim/reset');
});

test('pipelined and byte-wise requests', async (p) => {
  const body = '{"model":"m"}';
  const one = `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const s = net.connect(p, '127.0.0.1');
  s.setNoDelay(true);
  let text = '';
  s.on('data', (d) => { text += d; });
  s.write(one + one + one);
  for (const c of one) { s.write(c); await new Promise((r) => setImmediate(r)); }
  await until(() => (text.match(/HTTP\/1\.1 200/g) ?? []).length === 4);
  s.destroy();
  const bad = await new Promise((resolve) => {
    let t = '';
    const b = net.connect(p, '127.0.0.1', () => b.write('NONSENSE\r\n\r\n'));
    b.on('data', (d) => { t += d; });
    b.on('close', () => resolve(t));
  });
  assert.match(bad, /^HTTP\/1\.1 400/);
});

test('many at once', async (p) => {
  await call(p, 'POST', '/_sim/reset');
  const n = 3000;
  const t = Date.now();
  let next = 0;
  await Promise.all(Array.from({ length: 50 }, async () => { while (next++ < n) assert.equal((await chat(p, 'm')).status, 200); }));
  const st = await stats(p);
  assert.equal(st.answered, n);
  assert.ok(st.max_in_flight >= 1);
  console.log(`# ${Math.round(n / ((Date.now() - t) / 1000))} requests/s as seen by node`);
});

const { child, port } = await start([]);
let failed = 0;
console.log(`1..${tests.length + 2}`);
for (const [i, [name, fn]] of tests.entries()) {
  try {
    await Promise.race([fn(port), new Promise((_, no) => setTimeout(() => no(new Error('too slow')), 20000).unref())]);
    console.log(`ok ${i + 1} - ${name}`);
  } catch (e) {
    failed++;
    console.log(`not ok ${i + 1} - ${name}\n# ${String(e.stack).replaceAll('\n', '\n# ')}`);
  }
}
agent.destroy();
child.kill('SIGTERM');
const code = await new Promise((r) => child.once('exit', (c, s) => r(c ?? s)));
console.log(`${code === 0 ? 'ok' : 'not ok'} ${tests.length + 1} - ends on SIGTERM (${code})`);
failed += code !== 0;

const keyed = await start(['--key', 'sk-right', '--strict', '--model', 'known', '--rule', 'model=known;text=by rule']);
const refusedBind = await new Promise((r) => spawn(binary, ['--bind', '0.0.0.0'], { stdio: 'ignore' }).once('exit', r));
try {
  const ask = (model, headers, path = '/v1/chat/completions') => call(keyed.port, 'POST', path, { model }, { connection: 'close', ...headers });
  assert.equal(refusedBind, 64);
  assert.equal((await ask('known', {})).status, 401);
  assert.equal((await ask('known', { authorization: 'Bearer sk-wrong' })).json.error.code, 'invalid_api_key');
  assert.equal((await ask('known', { authorization: 'Bearer sk-right' })).json.choices[0].message.content, 'by rule');
  assert.equal((await ask('other', { authorization: 'Bearer sk-right' })).status, 404);
  assert.equal((await ask('known', { 'x-api-key': 'sk-right' }, '/v1/messages')).status, 200);
  assert.equal((await ask('known', { 'x-api-key': 'no' }, '/v1/messages')).json.error.type, 'authentication_error');
  assert.equal((await call(keyed.port, 'GET', '/v1beta/models?key=sk-right')).json.models.length, 1);
  assert.equal((await call(keyed.port, 'GET', '/v1beta/models')).status, 401);
  console.log(`ok ${tests.length + 2} - keys, --strict, --rule, loopback only`);
} catch (e) {
  failed++;
  console.log(`not ok ${tests.length + 2} - keys, --strict, --rule, loopback only\n# ${String(e.stack).replaceAll('\n', '\n# ')}`);
}
agent.destroy();
keyed.child.kill('SIGTERM');
await new Promise((r) => keyed.child.once('exit', r));
process.exit(failed ? 1 : 0);
