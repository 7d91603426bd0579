// Judging replies (spec 1 section 3.6): every row of the table on every route, strict and lenient, and what a run's
// verdicts make of its channel (section 3.3). One run asks all cases of a route, one model each.
import { test, before, beforeEach, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { closedPort, startDaemon, startSim } from '../harness.mjs';
import { create, item, lines, rows, run } from './channels.mjs';

let d, sim;
before(async () => {
  sim = await startSim();
  d = await startDaemon({ env: { MONITOR_DETECT_CONCURRENCY: '16' } });
});
beforeEach(() => sim.reset());
after(async () => {
  await d?.stop();
  await sim?.stop();
});
const models = (...names) => fetch(`${sim.url}/_sim/models`, { method: 'POST', body: JSON.stringify({ models: names }) });
const json = (o) => JSON.stringify(o);

const NO_TEXT = 'response parse failed: no readable text';
const LONG = 'x'.repeat(700);
const ok = (content) => ({ success: true, status_code: 200, content, error: null, outcome: 'ok' });
const fail = (outcome, error, status_code = 200) => ({ success: false, status_code, content: null, error, outcome });
const cut = (tokens) => ({ success: true, status_code: 200, content: `(cut off by the token limit after ${tokens} output tokens, no text)`, error: null, outcome: 'truncated' });

// What every route judges alike; `good` is a body with the text.
const common = (good) => [
  // [what, behaviour, verdict, verdict when lenient if another]
  ['text', { body: good('I am here') }, ok('I am here')],
  ['text is trimmed', { body: good(' \n\t I am\nhere \r\n') }, ok('I am\nhere')],
  ['blanks are no text', { body: good(' \n\t ') }, fail('empty', NO_TEXT)],
  ['empty text', { body: good('') }, fail('empty', NO_TEXT)],
  ['null for text', { body: good(null) }, fail('empty', NO_TEXT)],
  ['a number for text', { body: good(42) }, fail('empty', NO_TEXT)],
  ['500 bytes', { body: good('y'.repeat(500)) }, ok('y'.repeat(500))],
  ['501 bytes', { body: good('y'.repeat(501)) }, ok('y'.repeat(500))],
  ['cut between characters', { body: good(`a${'é'.repeat(300)}`) }, ok(`a${'é'.repeat(249)}`)],
  ['cut between large characters', { body: good(`ab${'\u{1F600}'.repeat(130)}`) }, ok(`ab${'\u{1F600}'.repeat(124)}`)],
  ['escapes', { body: good('"\\ <b>\u{1F600}\u0001').replace('\u{1F600}', '\\ud83d\\ude00') }, ok('"\\ <b>\u{1F600}\u0001')],
  ['a lone surrogate', { body: good('a%b').replace('%', '\\ud800') }, ok('a\ufffdb')],
  ['created', { status: 201, body: good('made') }, fail('unexpected_status', `HTTP 201: ${good('made')}`, 201), { ...ok('made'), status_code: 201 }],
  ['accepted with an error', { status: 202, body: '{"error":{"message":"later"}}' }, fail('unexpected_status', 'HTTP 202: later', 202), fail('body_error', 'response error: later', 202)],
  ['error text', { body: '{"error":"broken"}' }, fail('body_error', 'response error: broken')],
  ['error object', { body: '{"error":{"message":"no credit","type":"x"}}' }, fail('body_error', 'response error: no credit')],
  ['error beside a text', { body: json({ ...JSON.parse(good('hm')), error: { message: 'half' } }) }, fail('body_error', 'response error: half')],
  ['error object without a message', { body: '{"error":{"code":17, "message":""}}' }, fail('body_error', 'response error: {"code":17,"message":""}')],
  ['error object with a number for message', { body: '{"error":{"message":5}}' }, fail('body_error', 'response error: {"message":5}')],
  ['error true', { body: '{"error":true}' }, fail('body_error', 'response error: true')],
  ['error number', { body: '{"error":12.50}' }, fail('body_error', 'response error: 12.50')],
  ['error array', { body: '{"error":["a", 1]}' }, fail('body_error', 'response error: ["a",1]')],
  ...['null', 'false', '0', '0.0', '""', '{}', '[]', '{ }'].map((v) => [`error ${v} is none`, { body: good('fine').replace(/^\{/, `{"error":${v},`) }, ok('fine')]),
  ['a long error text', { body: json({ error: { message: LONG } }) }, fail('body_error', `response error: ${LONG.slice(0, 500)}`)],
  ['success false', { body: '{"success":false,"message":"额度不足"}' }, fail('body_error', 'response error: 额度不足')],
  ['success false beside a text', { body: good('hm').replace(/^\{/, '{"success":false,"message":"no",') }, fail('body_error', 'response error: no')],
  ['success false without a message', { body: '{"success":false}' }, fail('empty', NO_TEXT)],
  ['success true', { body: good('fine').replace(/^\{/, '{"success":true,"message":"all well",') }, ok('fine')],
  ['a code with a message', { body: '{"code":1001,"message":"no channel"}' }, fail('body_error', 'response error: [1001] no channel')],
  ['code 0', { body: good('fine').replace(/^\{/, '{"code":0,"message":"ok",') }, ok('fine')],
  ['code 200', { body: good('fine').replace(/^\{/, '{"code":200,"message":"ok",') }, ok('fine')],
  ['a code that is a text', { body: good('fine').replace(/^\{/, '{"code":"1001","message":"x",') }, ok('fine')],
  ['a code without a message', { body: good('fine').replace(/^\{/, '{"code":1001,') }, ok('fine')],
  ['no JSON', { body: 'pong' }, fail('bad_body', NO_TEXT)],
  ['HTML', { body: '<html>hello</html>', type: 'text/html' }, fail('bad_body', NO_TEXT)],
  ['a JSON array', { body: '["a"]' }, fail('bad_body', NO_TEXT)],
  ['cut JSON', { body: good('fine').slice(0, -2) }, fail('bad_body', NO_TEXT)],
  ['an empty object', { body: '{}' }, fail('empty', NO_TEXT)],
  ['an empty body', { fault: 'empty-body' }, fail('empty', NO_TEXT)],
  ['400', { status: 400, body: '{"error":{"message":"bad question"}}' }, fail('bad_request', 'HTTP 400: bad question', 400)],
  ['401', { status: 401, body: '{"error":{"message":"who?"}}' }, fail('auth', 'HTTP 401: who?', 401)],
  ['402', { status: 402, body: '{"message":"pay"}' }, fail('quota', 'HTTP 402: {"message":"pay"}', 402)],
  ['403', { status: 403, body: 'forbidden' }, fail('forbidden', 'HTTP 403: forbidden', 403)],
  ['404', { status: 404, body: '{"error":"gone"}' }, fail('model_unknown', 'HTTP 404: gone', 404)],
  ['429', { status: 429, body: '{"error":{"message":"slow down"}}' }, fail('rate_limited', 'HTTP 429: slow down', 429)],
  ['429 that means money', { status: 429, body: '{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}' }, fail('quota', 'HTTP 429: You exceeded your current quota', 429)],
  ['500 with one-api words', { status: 500, body: '{"success":false,"message":"down"}' }, fail('server_error', 'HTTP 500: down', 500)],
  ['500 with a text', { status: 500, body: good('but I am well') }, fail('server_error', `HTTP 500: ${good('but I am well')}`, 500)],
  ['502 with HTML', { status: 502, body: `<html>${LONG}` }, fail('server_error', `HTTP 502: <html>${LONG}`.slice(0, 510), 502)],
  ['503', { status: 503, body: '{"error":{"message":"busy"}}' }, fail('overloaded', 'HTTP 503: busy', 503)],
  ['529', { status: 529, body: '{"error":{"type":"overloaded_error","message":"Overloaded"}}' }, fail('overloaded', 'HTTP 529: Overloaded', 529)],
  ['a raw body cut between characters', { status: 500, body: `${'z'.repeat(499)}é` }, fail('server_error', `HTTP 500: ${'z'.repeat(499)}`, 500)],
  ['302 to nowhere', { status: 302, body: 'x' }, fail('unexpected_status', 'HTTP 302: redirects are not followed', 302)],
];

const chat = (message, more) => json({ id: 'c', object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: 'stop', ...more }] });
const message = (content, more) => json({ id: 'm', type: 'message', role: 'assistant', content, stop_reason: 'end_turn', ...more });
const candidate = (parts, more) => json({ candidates: [{ content: { role: 'model', parts }, finishReason: 'STOP', ...more?.candidate }], ...more?.top });
const response = (output, more) => json({ id: 'r', object: 'response', status: 'completed', output, ...more });

const routes = {
  chat: {
    prefix: 'gpt', endpoint: 'chat', protocol: 'openai',
    cases: [
      ...common((text) => chat({ content: text })),
      ['reasoning for content', { body: chat({ content: null, reasoning_content: 'hm' }) }, ok('hm')],
      ['content before reasoning', { body: chat({ content: 'yes', reasoning_content: 'hm' }) }, ok('yes')],
      ['blank content, reasoning', { body: chat({ content: ' ', reasoning_content: 'hm' }) }, ok('hm')],
      ['refusal', { body: chat({ content: null, refusal: 'I will not' }) }, ok('I will not')],
      ['reasoning before refusal', { body: chat({ refusal: 'no', reasoning_content: 'hm' }) }, ok('hm')],
      ['completion of old', { body: '{"choices":[{"text":"old style"}]}' }, ok('old style')],
      ['message before text', { body: '{"choices":[{"text":"old","message":{"content":"new"}}]}' }, ok('new')],
      ['only the first choice', { body: '{"choices":[{"message":{"content":""}},{"message":{"content":"second"}}]}' }, fail('empty', NO_TEXT)],
      ['no choices', { body: '{"choices":[]}' }, fail('empty', NO_TEXT)],
      ['content of parts', { body: chat({ content: [{ type: 'text', text: 'a ' }, { type: 'image_url' }, 'b', { type: 'text', text: 'c' }] }) }, fail('empty', NO_TEXT), ok('a bc')],
      ['tool call only', { body: chat({ content: null, tool_calls: [{ id: 't', type: 'function', function: { name: 'f', arguments: '{}' } }] }) }, fail('empty', NO_TEXT)],
      ['cut off, nothing said', { body: json({ choices: [{ message: { content: '' }, finish_reason: 'length' }], usage: { prompt_tokens: 9, completion_tokens: 50, total_tokens: 59, completion_tokens_details: { reasoning_tokens: 50 } } }) }, fail('empty', NO_TEXT), cut(50)],
      ['cut off without a token', { body: json({ choices: [{ message: { content: '' }, finish_reason: 'length' }], usage: { prompt_tokens: 9, completion_tokens: 0 } }) }, fail('empty', NO_TEXT)],
      ['cut off, something said', { body: chat({ content: 'I am' }, { finish_reason: 'length' }) }, ok('I am')],
    ],
  },
  anthropic: {
    prefix: 'claude', endpoint: 'messages', protocol: 'anthropic',
    cases: [
      ...common((text) => message([{ type: 'text', text }])),
      ['thinking first', { body: message([{ type: 'thinking', thinking: 'hm', text: 'no' }, { type: 'text', text: 'yes' }]) }, ok('yes')],
      ['the first text that is one', { body: message([{ type: 'text', text: '' }, { type: 'text', text: 'b' }]) }, ok('b')],
      ['no blocks', { body: message([]) }, fail('empty', NO_TEXT)],
      ['tool use only', { body: message([{ type: 'tool_use', id: 't', name: 'f', input: {} }]) }, fail('empty', NO_TEXT)],
      ['content is a text', { body: message('I am') }, fail('empty', NO_TEXT)],
      ['native error', { status: 400, body: '{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}' }, fail('quota', 'HTTP 400: Your credit balance is too low', 400)],
      ['cut off, nothing said', { body: message([], { stop_reason: 'max_tokens', usage: { input_tokens: 9, output_tokens: 50 } }) }, fail('empty', NO_TEXT), cut(50)],
    ],
  },
  gemini: {
    prefix: 'gemini', endpoint: 'gemini', protocol: 'gemini',
    cases: [
      ...common((text) => candidate([{ text }])),
      ['thought first', { body: candidate([{ text: 'hm', thought: true }, { text: 'yes' }]) }, ok('yes')],
      ['thought only', { body: candidate([{ text: 'hm', thought: true }]) }, fail('empty', NO_TEXT)],
      ['a function call', { body: candidate([{ functionCall: { name: 'f', args: {} } }]) }, fail('empty', NO_TEXT)],
      ['no candidates', { body: '{"candidates":[],"promptFeedback":{"blockReason":"SAFETY"}}' }, fail('empty', NO_TEXT)],
      ['native error', { status: 400, body: '{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}' }, fail('auth', 'HTTP 400: API key not valid. Please pass a valid API key.', 400)],
      ['cut off, only thought', { body: candidate([], { candidate: { finishReason: 'MAX_TOKENS' }, top: { usageMetadata: { promptTokenCount: 9, thoughtsTokenCount: 10, totalTokenCount: 19 } } }) }, fail('empty', NO_TEXT), cut(10)],
    ],
  },
  responses: {
    prefix: 'codex', endpoint: 'responses', protocol: 'openai',
    cases: [
      ...common((text) => response([{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text }] }])),
      ['reasoning first', { body: response([{ type: 'reasoning', summary: [] }, { type: 'message', content: [{ type: 'output_text', text: 'yes' }] }]) }, ok('yes')],
      ['text of the item', { body: response([{ type: 'message', text: 'plain' }]) }, ok('plain')],
      ['other content', { body: response([{ type: 'message', content: [{ type: 'refusal', refusal: 'no' }] }]) }, fail('empty', NO_TEXT)],
      ['no output', { body: response([]) }, fail('empty', NO_TEXT)],
      ['error null as the vendor sends it', { body: response([{ type: 'message', content: [{ type: 'output_text', text: 'yes' }] }], { error: null, incomplete_details: null }) }, ok('yes')],
      ['cut off, nothing said', { body: response([{ type: 'reasoning', summary: [] }], { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, usage: { input_tokens: 9, output_tokens: 64, output_tokens_details: { reasoning_tokens: 64 } } }) }, fail('empty', NO_TEXT), cut(64)],
    ],
  },
};

for (const [route, { prefix, endpoint, protocol, cases }] of Object.entries(routes)) {
  describe(route, () => {
    for (const lenient of [false, true]) {
      test(`${cases.length} replies, ${lenient ? 'lenient' : 'strict'}`, async () => {
        await models(...cases.map((_, i) => `${prefix}-${i}`));
        const set = await sim.behave(cases.map(([, behaviour], i) => ({ model: `${prefix}-${i}`, ...behaviour })));
        assert.equal(set.status, 200, set.text);
        const t = await create(d, sim.url, { lenient });
        const done = await run(d, t.id);
        const stored = Object.fromEntries((await rows(d, t.id)).map((r) => [r.model, r]));
        const wrong = [];
        for (const [i, [what, , strict, soft = strict]] of cases.entries()) {
          const want = { ...(lenient ? soft : strict), transport_success: true, route, endpoint, protocol };
          const row = stored[`${prefix}-${i}`];
          const got = Object.fromEntries(Object.keys(want).map((k) => [k, row[k]]));
          try {
            assert.deepEqual(got, want);
          } catch (e) {
            wrong.push(`${what}: ${e.message}`);
          }
        }
        assert.equal(wrong.length, 0, wrong.join('\n'));
        const good = cases.filter(([, , strict, soft = strict]) => (lenient ? soft : strict).success).length;
        assert.deepEqual([done.last_status, done.last_total, done.last_success], ['degraded', cases.length, good]);
        for (const line of lines(done.last_log_file)) assert.deepEqual([line.success, line.error, line.content], [stored[line.model].success, stored[line.model].error, stored[line.model].content]);
      });
    }
  });
}

test('a status without a body says so', async () => {
  const server = http.createServer((req, res) => {
    req.resume();
    if (req.method === 'GET') return res.end('{"data":[{"id":"m"}]}');
    res.statusCode = Number(req.headers['user-agent']);
    res.end();
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  for (const [status, lenient, error, outcome] of [[500, true, 'HTTP 500: unknown error', 'server_error'], [204, false, 'HTTP 204: unknown error', 'unexpected_status'], [204, true, NO_TEXT, 'empty'], [418, true, 'HTTP 418: unknown error', 'bad_request']]) {
    const t = await create(d, `http://127.0.0.1:${server.address().port}`, { user_agent: String(status), lenient });
    const [m] = (await run(d, t.id)).latest_models;
    assert.deepEqual([m.status_code, m.error, m.outcome], [status, error, outcome]);
  }
  server.closeAllConnections();
  server.close();
});

test('no reply: no status, the address and the cause', async () => {
  await models('reset', 'claude-closed', 'codex-garbage', 'gemini-hang');
  await sim.behave([{ model: 'reset', fault: 'reset', at: 0 }, { model: 'claude-closed', fault: 'close', at: 0 }, { model: 'codex-garbage', fault: 'garbage' }, { model: 'gemini-hang', fault: 'hang-head' }]);
  const t = await create(d, sim.url, { timeout_s: 3 });
  const done = await run(d, t.id);
  assert.equal(done.last_status, 'down');
  const by = Object.fromEntries((await rows(d, t.id)).map((r) => [r.model, r]));
  for (const [model, path, cause] of [
    ['reset', '/v1/chat/completions', /the connection was closed without an answer|connection reset/], ['claude-closed', '/v1/messages', /the connection was closed without an answer/],
    ['codex-garbage', '/v1/responses', /the answer is not HTTP/], ['gemini-hang', '/v1beta/models/gemini-hang:generateContent', /no answer within 3 s/],
  ]) {
    const r = by[model];
    assert.deepEqual([r.success, r.transport_success, r.status_code, r.content], [false, false, null, null], model);
    const [, url, ms, why] = /^HTTP POST (\S+) failed \((\d+)ms\): (.+)$/.exec(r.error) ?? [];
    assert.equal(url, sim.url + path, r.error);
    assert.match(why, cause);
    assert.ok(Math.abs(Number(ms) / 1000 - r.duration) <= 0.002, `${ms} ms, ${r.duration} s`);
  }
  assert.equal(by['gemini-hang'].outcome, 'timeout');
});

test('what verdicts make of the channel', async () => {
  const bad = { status: 500, body: 'no' };
  const t = await create(d, sim.url);
  const check = async (status, total, success, rate, error = null) => {
    const now = await run(d, t.id);
    assert.deepEqual([now.last_status, now.last_total, now.last_success, now.last_fail, now.last_success_rate, now.last_error], [status, total, success, total - success, rate, error]);
  };
  await models('a', 'b', 'c');
  await check('healthy', 3, 3, 100);
  await sim.behave({ model: 'b', ...bad });
  await check('degraded', 3, 2, 66.7);
  await sim.behave({ model: 'a', ...bad });
  await check('degraded', 3, 1, 33.3);
  await sim.behave({ model: 'c', ...bad });
  await check('down', 3, 0, 0);
  await models('a');
  await check('down', 1, 0, 0);
  await d.api('PATCH', `/api/targets/${t.id}`, { selected_models: ['z'] });
  await check('no_models', 0, 0, null);
  await d.api('PATCH', `/api/targets/${t.id}`, { selected_models: [] });
  for (const [behaviour, error] of [
    [{ body: '[]' }, 'models response must be JSON object'], [{ body: '{"data":{}}' }, 'models response missing data[]'], [{ body: '{"data":[{"id":5},{},"x"]}' }, 'models list is empty'], [{ body: '{"data":[]}' }, 'models list is empty'],
    [{ status: 401, body: '{"error":{"message":"who?"}}' }, 'GET /v1/models failed: HTTP 401 - who?'], [{ status: 500, body: '<html>' }, 'GET /v1/models failed: HTTP 500 - <html>'], [{ status: 201, body: '{"data":[{"id":"a"}]}' }, 'GET /v1/models failed: HTTP 201 - {"data":[{"id":"a"}]}'],
  ]) {
    await sim.behave({ route: 'models', ...behaviour });
    await check('error', 0, 0, null, error);
  }
  await sim.reset();
  await check('healthy', 3, 3, 100);
  await d.api('PATCH', `/api/targets/${t.id}`, { base_url: `http://127.0.0.1:${await closedPort()}` });
  const lost = await run(d, t.id);
  assert.equal(lost.last_status, 'error');
  assert.match(lost.last_error, /^GET \/v1\/models failed: HTTP GET \S+ failed \(\d+ms\): connection refused$/);
  const shown = await item(d, t.id);
  assert.equal(shown.latest_models.length, 3, 'what was known stays');
});
