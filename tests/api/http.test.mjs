// What the listener does with bytes of every kind: hostile heads and bodies, deadlines, limits, paths,
// addresses, embedded files. One daemon answers most; those with other options start their own.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { readdirSync } from 'node:fs';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { startDaemon, raw, connect, answers, request, until, procStatus, cpuSeconds, parseMetrics, ADMIN_TOKEN, isSanitized } from '../harness.mjs';

let d;
before(async () => { d = await startDaemon(); });
after(() => d?.stop());

const H = 'Host: a.example\r\n';
const AUTH = `Authorization: Bearer ${ADMIN_TOKEN}\r\n`;
const get = (path, headers = '') => `GET ${path} HTTP/1.1\r\n${H}${headers}\r\n`;
const close = 'Connection: close\r\n';
const login = (headers, body = '') => `POST /api/admin/login HTTP/1.1\r\n${H}Content-Type: application/json\r\n${headers}\r\n${body}`;
const healthy = async (daemon = d) => assert.equal((await daemon.request('GET', '/health')).status, 200);

// ---- heads and framing that servers and proxies read in different ways ----

const CHUNKED = 'Transfer-Encoding: chunked\r\n';
const refused = [
  // request line
  ['HTTP/0.9', 'GET /health\r\n\r\n', [400]],
  ['two blanks before the target', `GET  /health HTTP/1.1\r\n${H}\r\n`, [400]],
  ['two blanks before the version', `GET /health  HTTP/1.1\r\n${H}\r\n`, [400]],
  ['a tab in the request line', `GET\t/health HTTP/1.1\r\n${H}\r\n`, [400]],
  ['a blank before the method', ` GET /health HTTP/1.1\r\n${H}\r\n`, [400]],
  ['a blank behind the version', `GET /health HTTP/1.1 \r\n${H}\r\n`, [400]],
  ['a lower-case version', `GET /health http/1.1\r\n${H}\r\n`, [400]],
  ['a long version', `GET /health HTTP/1.10\r\n${H}\r\n`, [400]],
  ['version 1.2', `GET /health HTTP/1.2\r\n${H}\r\n`, [505]],
  ['version 2.0', `GET /health HTTP/2.0\r\n${H}\r\n`, [505]],
  ['preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400, 505]],
  ['a hello of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', [400]],
  ['a method with a bracket', `G(T /health HTTP/1.1\r\n${H}\r\n`, [400]],
  ['no target', `GET HTTP/1.1\r\n${H}\r\n`, [400]],
  ['a target without slash', `GET health HTTP/1.1\r\n${H}\r\n`, [400]],
  ['a target of CONNECT', `CONNECT a.example:443 HTTP/1.1\r\n${H}\r\n`, [400, 405]],
  ['star with GET', `GET * HTTP/1.1\r\n${H}\r\n`, [400]],
  ['a fragment', `GET /health#x HTTP/1.1\r\n${H}\r\n`, [400]],
  ['a byte above ASCII in the target', `GET /h\xe9alth HTTP/1.1\r\n${H}\r\n`, [400]],
  ['a NUL in the target', `GET /health\0 HTTP/1.1\r\n${H}\r\n`, [400]],
  ['an absolute target of another host', `GET http://b.example/health HTTP/1.1\r\n${H}\r\n`, [400]],
  ['an absolute target with user', `GET http://u@a.example/health HTTP/1.1\r\n${H}\r\n`, [400]],
  ['an absolute target of another scheme', `GET ftp://a.example/health HTTP/1.1\r\n${H}\r\n`, [400]],
  ['%00 in the path', get('/health%00'), [400]],
  ['half an escape', get('/health%2'), [400]],
  ['no escape', get('/health%zz'), [400]],
  ['escapes that are not UTF-8', get('/%ff%fe'), [400]],
  ['an escaped line break', get('/health%0d%0ax'), [400]],
  // line ends
  ['LF alone behind the request line', `GET /health HTTP/1.1\n${H}\r\n`, [400]],
  ['LF alone behind a header', `GET /health HTTP/1.1\r\nHost: a.example\n\r\n`, [400]],
  ['LF alone at the end', `GET /health HTTP/1.1\r\n${H}\n`, [400]],
  ['CR alone in a header', `GET /health HTTP/1.1\r\n${H}X: a\rb\r\n\r\n`, [400]],
  ['CR alone between headers', `GET /health HTTP/1.1\r\nHost: a.example\rX: y\r\n\r\n`, [400]],
  ['CR CR LF', `GET /health HTTP/1.1\r\r\n${H}\r\n`, [400]],
  ['a folded header', `GET /health HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`, [400]],
  ['a first header that begins with a blank', `GET /health HTTP/1.1\r\n X: y\r\n${H}\r\n`, [400]],
  ['two empty lines in front', `\r\n\r\n${get('/health')}`, [400]],
  // headers
  ['no Host', 'GET /health HTTP/1.1\r\n\r\n', [400]],
  ['two Hosts', `GET /health HTTP/1.1\r\n${H}${H}\r\n`, [400]],
  ['two other Hosts', `GET /health HTTP/1.1\r\n${H}Host: b.example\r\n\r\n`, [400]],
  ['an empty Host', 'GET /health HTTP/1.1\r\nHost:\r\n\r\n', [400]],
  ['a Host with a path', 'GET /health HTTP/1.1\r\nHost: a.example/x\r\n\r\n', [400]],
  ['a Host with a question', 'GET /health HTTP/1.1\r\nHost: a.example?x\r\n\r\n', [400]],
  ['a Host with a fragment', 'GET /health HTTP/1.1\r\nHost: a.example#x\r\n\r\n', [400]],
  ['a Host with a user', 'GET /health HTTP/1.1\r\nHost: u@a.example\r\n\r\n', [400]],
  ['a Host with a blank', 'GET /health HTTP/1.1\r\nHost: a example\r\n\r\n', [400]],
  ['a list of Hosts', 'GET /health HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n', [400]],
  ['a Host with a bad port', 'GET /health HTTP/1.1\r\nHost: a.example:99999\r\n\r\n', [400]],
  ['a Host with a port of letters', 'GET /health HTTP/1.1\r\nHost: a.example:http\r\n\r\n', [400]],
  ['a Host of a port alone', 'GET /health HTTP/1.1\r\nHost: :80\r\n\r\n', [400]],
  ['an open bracket', 'GET /health HTTP/1.1\r\nHost: [::1\r\n\r\n', [400]],
  ['a blank before the colon', `GET /health HTTP/1.1\r\n${H}X : y\r\n\r\n`, [400]],
  ['a tab before the colon', `GET /health HTTP/1.1\r\n${H}X\t: y\r\n\r\n`, [400]],
  ['an empty name', `GET /health HTTP/1.1\r\n${H}: y\r\n\r\n`, [400]],
  ['no colon', `GET /health HTTP/1.1\r\n${H}XY\r\n\r\n`, [400]],
  ['a bracket in a name', `GET /health HTTP/1.1\r\n${H}X(Y): z\r\n\r\n`, [400]],
  ['a NUL in a value', `GET /health HTTP/1.1\r\n${H}X: a\0b\r\n\r\n`, [400]],
  ['a NUL in a name', `GET /health HTTP/1.1\r\n${H}X\0: b\r\n\r\n`, [400]],
  ['a control character in a value', `GET /health HTTP/1.1\r\n${H}X: a\x0bb\r\n\r\n`, [400]],
  ['DEL in a value', `GET /health HTTP/1.1\r\n${H}X: a\x7fb\r\n\r\n`, [400]],
  // length
  ['two equal lengths', login('Content-Length: 2\r\nContent-Length: 2\r\n', '{}'), [400]],
  ['two other lengths', login('Content-Length: 2\r\nContent-Length: 40\r\n', '{}'), [400]],
  ['a list of lengths', login('Content-Length: 2, 2\r\n', '{}'), [400]],
  ['a signed length', login('Content-Length: +2\r\n', '{}'), [400]],
  ['a negative length', login('Content-Length: -2\r\n', '{}'), [400]],
  ['a length of hex', login('Content-Length: 0x2\r\n', '{}'), [400]],
  ['a length of an exponent', login('Content-Length: 2e0\r\n', '{}'), [400]],
  ['a length with a blank', login('Content-Length: 2 2\r\n', '{}'), [400]],
  ['an empty length', login('Content-Length:\r\n', '{}'), [400]],
  ['a length beyond 63 bits', login('Content-Length: 9223372036854775808\r\n', '{}'), [400]],
  ['a length beyond 64 bits', login('Content-Length: 18446744073709551618\r\n', '{}'), [400]],
  ['a length in another digit', login('Content-Length: \xd9\xa2\r\n', '{}'), [400]],
  // coding
  ['length and chunks', login(`Content-Length: 2\r\n${CHUNKED}`, '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['chunks and length', login(`${CHUNKED}Content-Length: 2\r\n`, '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['chunked twice', login(CHUNKED + CHUNKED, '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['chunked, chunked', login('Transfer-Encoding: chunked, chunked\r\n', '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['chunked is not last', login('Transfer-Encoding: chunked, gzip\r\n', '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['gzip, chunked', login('Transfer-Encoding: gzip, chunked\r\n', '2\r\n{}\r\n0\r\n\r\n'), [501]],
  ['a coding we do not have', login('Transfer-Encoding: xchunked\r\n', '2\r\n{}\r\n0\r\n\r\n'), [400, 501]],
  ['identity', login('Transfer-Encoding: identity\r\n', '{}'), [400, 501]],
  ['a quoted coding', login('Transfer-Encoding: "chunked"\r\n', '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['a coding with VT', login('Transfer-Encoding: \x0bchunked\r\n', '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['an empty coding', login('Transfer-Encoding:\r\n', '{}'), [400]],
  ['a coding with a parameter', login('Transfer-Encoding: chunked;q=1\r\n', '2\r\n{}\r\n0\r\n\r\n'), [400, 501]],
  ['a coding with a blank before the colon', login('Transfer-Encoding : chunked\r\n', '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['chunks in HTTP/1.0', `POST /api/admin/login HTTP/1.0\r\n${H}${CHUNKED}\r\n2\r\n{}\r\n0\r\n\r\n`, [400]],
  // chunks
  ['a chunk size of letters', login(CHUNKED, 'g\r\n{}\r\n0\r\n\r\n'), [400]],
  ['a chunk size with 0x', login(CHUNKED, '0x2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['a signed chunk size', login(CHUNKED, '+2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['a negative chunk size', login(CHUNKED, '-2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['no chunk size', login(CHUNKED, '\r\n{}\r\n0\r\n\r\n'), [400]],
  ['a blank before the chunk size', login(CHUNKED, ' 2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['a blank behind the chunk size', login(CHUNKED, '2 \r\n{}\r\n0\r\n\r\n'), [400]],
  ['a chunk size beyond 64 bits', login(CHUNKED, '10000000000000002\r\n{}\r\n0\r\n\r\n'), [400]],
  ['LF behind the chunk size', login(CHUNKED, '2\n{}\r\n0\r\n\r\n'), [400]],
  ['CR alone in an extension', login(CHUNKED, '2;a\rb\r\n{}\r\n0\r\n\r\n'), [400]],
  ['a NUL in an extension', login(CHUNKED, '2;a\0b\r\n{}\r\n0\r\n\r\n'), [400]],
  ['LF in an extension', login(CHUNKED, '2;a\n{}\r\n0\r\n\r\n'), [400]],
  ['a chunk longer than its size', login(CHUNKED, '2\r\n{}x\r\n0\r\n\r\n'), [400]],
  ['a chunk that ends with LF', login(CHUNKED, '2\r\n{}\n0\r\n\r\n'), [400]],
  ['a chunk that ends with CR', login(CHUNKED, '2\r\n{}\rX0\r\n\r\n'), [400]],
  ['LF behind the last chunk', login(CHUNKED, '2\r\n{}\r\n0\n\r\n'), [400]],
  ['a bad trailer', login(CHUNKED, '2\r\n{}\r\n0\r\nX\0: y\r\n\r\n'), [400]],
  ['a huge extension', login(CHUNKED, `2;${'a'.repeat(70000)}\r\n{}\r\n0\r\n\r\n`), [400, 413]],
  ['huge trailers', login(CHUNKED, `2\r\n{}\r\n0\r\n${`X: ${'a'.repeat(100)}\r\n`.repeat(1000)}\r\n`), [400, 413, 431]],
  ['framing that outweighs the data', login(CHUNKED, `1;${'a'.repeat(200)}\r\n \r\n`.repeat(2000) + '0\r\n\r\n'), [400, 413]],
  // expectation
  ['an expectation we do not have', login('Content-Length: 2\r\nExpect: 200-ok\r\n', '{}'), [417]],
  ['a list of expectations', login('Content-Length: 2\r\nExpect: 100-continue, x\r\n', '{}'), [417]],
  ['a blank in the expectation', login('Content-Length: 2\r\nExpect: 100 -continue\r\n', '{}'), [417]],
  // size
  ['a request line above 8190', `GET /${'a'.repeat(8200)} HTTP/1.1\r\n${H}\r\n`, [414]],
  ['a request line without end', `GET /${'a'.repeat(20000)}`, [414]],
  ['a header line above 8 KiB', get('/health', `X: ${'a'.repeat(8200)}\r\n`), [431]],
  ['headers above 32 KiB', get('/health', `X: ${'a'.repeat(4000)}\r\n`.repeat(9)), [431]],
  ['101 headers', get('/health', 'X: y\r\n'.repeat(101)), [431]],
  ['100,000 headers', get('/health', 'X: y\r\n'.repeat(100000)), [431]],
];

// No second request that hides behind a refused one is ever answered.
const hidden = `GET /openapi.json HTTP/1.1\r\n${H}\r\n`;
for (const [name, bytes, statuses] of refused) {
  test(`refuses and closes: ${name}`, async () => {
    const text = await raw(d.port, Buffer.from(bytes + hidden, 'latin1'));
    const list = answers(text);
    assert.equal(list.length, 1, text.slice(0, 400));
    assert.ok(statuses.includes(list[0].status), `${list[0].status}`);
    assert.equal(list[0].headers.connection, 'close');
    assert.ok(JSON.parse(list[0].body).detail);
  });
}
test('is well after all of that, and counted it', async () => {
  await healthy();
  const { samples } = parseMetrics((await d.request('GET', '/metrics', undefined, { authorization: `Bearer ${ADMIN_TOKEN}` })).text);
  assert.ok(samples.get('gatehouse_http_bad_requests_total') >= refused.length);
});

test('every refused kind is refused byte by byte too', async () => {
  const small = refused.filter(([, bytes]) => bytes.length < 400);
  await Promise.all(small.map(async ([name, bytes, statuses]) => {
    const c = connect(d.port);
    await c.opened;
    c.socket.setNoDelay(true);
    for (const b of Buffer.from(bytes, 'latin1')) {
      if (c.closed || !c.socket.writable) break;
      c.socket.write(Buffer.of(b));
      await new Promise((r) => setImmediate(r));
    }
    if (!/\r\n\r\n$/.test(bytes) && !/HTTP\/1/.test(c.text)) c.send(hidden);
    await c.untilClosed();
    const list = answers(c.text);
    assert.equal(list.length, 1, name);
    assert.ok(statuses.includes(list[0].status), `${name}: ${list[0].status}`);
  }));
});

// ---- what is right is served ----

const served = [
  ['one empty line in front', `\r\n${get('/health', close)}`, 200],
  ['HTTP/1.0 without Host', 'GET /health HTTP/1.0\r\n\r\n', 200],
  ['an absolute target', `GET http://a.example/health HTTP/1.1\r\n${H}${close}\r\n`, 200],
  ['an absolute target in HTTP/1.0', 'GET http://b.example/health HTTP/1.0\r\n\r\n', 200],
  ['a Host of IPv6 with port', `GET /health HTTP/1.1\r\nHost: [::1]:80\r\n${close}\r\n`, 200],
  ['names of headers in any case', `GET /health HTTP/1.1\r\nhOsT: a.example\r\ncOnNeCtIoN: ClOsE\r\n\r\n`, 200],
  ['no blank behind the colon', `GET /health HTTP/1.1\r\nHost:a.example\r\nConnection:close\r\n\r\n`, 200],
  ['a query of any bytes', get('/health?a=%00%zz&&=&%', close), 200],
  ['an escaped letter', get('/%68ealth', close), 200],
  ['100 headers', get('/health', 'X: y\r\n'.repeat(98) + close), 200],
  ['a length with zeros in front', login(`Content-Length: 002\r\n${close}`, '{}'), 401],
  ['chunks in pieces', login(CHUNKED + close, '1\r\n{\r\n1;a=b\r\n}\r\n000\r\nX: y\r\n\r\n'), 401],
  ['chunked in capitals', login(`Transfer-Encoding: CHUNKED\r\n${close}`, '2\r\n{}\r\n0\r\n\r\n'), 401],
  ['a length of nothing with GET', get('/health', `Content-Length: 0\r\n${close}`), 200],
];
for (const [name, bytes, status] of served) {
  test(`serves: ${name}`, async () => {
    const list = answers(await raw(d.port, Buffer.from(bytes, 'latin1')));
    assert.deepEqual(list.map((a) => a.status), [status]);
  });
}

test('a body nobody asked for is never a request', async () => {
  const smuggled = get('/openapi.json');
  for (const head of [`POST /api/health HTTP/1.1\r\n${H}`, `GET /health HTTP/1.1\r\n${H}`, `DELETE /nowhere HTTP/1.1\r\n${H}`, `POST /api/targets HTTP/1.1\r\n${H}`]) {
    const bytes = `${head}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}${get('/ready', close)}`;
    const list = answers(await raw(d.port, bytes));
    assert.ok(list.length === 2 || (list.length === 1 && list[0].headers.connection === 'close'), JSON.stringify(list));
    if (list[1]) assert.match(list[1].body, /"ready"/);
    for (const a of list) assert.doesNotMatch(a.body, /openapi/);
  }
});

test('a chunked body nobody asked for closes the connection', async () => {
  const list = answers(await raw(d.port, `POST /api/health HTTP/1.1\r\n${H}${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n${get('/ready')}`));
  assert.equal(list.length, 1);
  assert.equal(list[0].headers.connection, 'close');
});

test('pipelined requests are answered in order, in one write or byte by byte', async () => {
  const bytes = get('/health') + get('/nowhere') + login('Content-Length: 2\r\n', '{}') + get('/ready', close);
  const wanted = [200, 404, 401, 200];
  assert.deepEqual(answers(await raw(d.port, bytes)).map((a) => a.status), wanted);
  const c = connect(d.port);
  await c.opened;
  c.socket.setNoDelay(true);
  for (const b of Buffer.from(bytes)) {
    c.socket.write(Buffer.of(b));
    await new Promise((r) => setImmediate(r));
  }
  await c.untilClosed();
  assert.deepEqual(answers(c.text).map((a) => a.status), wanted);
});

test('1,000 pipelined requests get 1,000 answers', async () => {
  const list = answers(await raw(d.port, get('/health').repeat(999) + get('/ready', close)));
  assert.equal(list.length, 1000);
  assert.ok(list.every((a) => a.status === 200));
});

test('a connection is kept, HTTP/1.0 only on request', async () => {
  const c = connect(d.port);
  c.send(get('/health'));
  await c.until(/"database"[^}]*}\n$/);
  c.send(`GET /ready HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
  await c.until(/"ready"}\n$/);
  assert.match(c.text, /Connection: keep-alive/);
  c.send('GET /ready HTTP/1.0\r\n\r\n');
  await c.untilClosed();
  assert.equal(answers(c.text).length, 3);
});

test('Expect: 100-continue goes on before a body that is wanted, and not before one that is not', async () => {
  const c = connect(d.port);
  c.send(login('Content-Length: 15\r\nExpect: 100-continue\r\n' + close));
  await c.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/);
  c.send('{"password":""}');
  await c.untilClosed();
  assert.match(c.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 401 /);

  const refusedEarly = connect(d.port);
  refusedEarly.send(`POST /api/targets HTTP/1.1\r\n${H}Content-Length: 15\r\nExpect: 100-continue\r\n\r\n`);
  await refusedEarly.untilClosed();
  assert.match(refusedEarly.text, /^HTTP\/1\.1 401 [^]*Connection: close/);

  const large = connect(d.port);
  large.send(login('Content-Length: 99999999\r\nExpect: 100-continue\r\n'));
  await large.untilClosed();
  assert.match(large.text, /^HTTP\/1\.1 413 /);
  // the body comes at once, without waiting
  assert.deepEqual(answers((await raw(d.port, login(`Content-Length: 2\r\nExpect: 100-continue\r\n${close}`, '{}'))).replace('HTTP/1.1 100 Continue\r\n\r\n', '')).map((a) => a.status), [401]);
});

test('HEAD is GET without the body', async () => {
  for (const path of ['/api/health', '/health', '/ready', '/openapi.json', '/', '/nowhere', '/api/nowhere']) {
    const g = await d.request('GET', path, undefined, { 'accept-encoding': 'identity' });
    const text = await raw(d.port, `HEAD ${path} HTTP/1.1\r\n${H}${close}\r\n`);
    const [head, body] = [text.slice(0, text.indexOf('\r\n\r\n')), text.slice(text.indexOf('\r\n\r\n') + 4)];
    assert.equal(body, '', path);
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${g.status} `), path);
    assert.match(head, new RegExp(`\r\nContent-Length: ${Buffer.byteLength(g.text)}(\r\n|$)`), path);
    assert.ok(head.includes(`Content-Type: ${g.headers.get('content-type')}`), path);
  }
});

test('other methods: 405 with Allow, OPTIONS 204 with Allow, no CORS', async () => {
  for (const [path, allow] of [['/api/health', 'GET, HEAD'], ['/api/admin/login', 'POST'], ['/api/admin/settings', 'GET, HEAD, PATCH'], ['/', 'GET, HEAD'], ['/nowhere', 'GET, HEAD'], ['/assets/x.js', 'GET, HEAD']]) {
    for (const method of ['PUT', 'BREW', 'TRACE']) {
      const [a] = answers(await raw(d.port, `${method} ${path} HTTP/1.1\r\n${H}${close}\r\n`));
      assert.equal(a.status, 405, `${method} ${path}`);
      assert.equal(a.headers.allow, allow);
      assert.equal(a.body, 'Method Not Allowed\n');
    }
    const [o] = answers(await raw(d.port, `OPTIONS ${path} HTTP/1.1\r\n${H}Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n${close}\r\n`));
    assert.equal(o.status, 204);
    assert.equal(o.headers.allow, allow);
    for (const name of Object.keys(o.headers)) assert.doesNotMatch(name, /^access-control/);
  }
  assert.equal(answers(await raw(d.port, `OPTIONS * HTTP/1.1\r\n${H}${close}\r\n`))[0].status, 204);
});

test('unknown paths: 404 text, under /api JSON, other methods 405', async () => {
  const page = await d.request('GET', '/nowhere');
  assert.equal(page.status, 404);
  assert.equal(page.text, '404 page not found\n');
  for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
    const api = await d.request(method, '/api/nowhere');
    assert.equal(api.status, 404);
    assert.deepEqual(api.json, { detail: 'no such route' });
  }
  assert.equal((await d.request('POST', '/nowhere')).status, 405);
});

test('tricks with paths reach nothing', async () => {
  const paths = ['/../etc/passwd', '/%2e%2e/etc/passwd', '/..%2fetc%2fpasswd', '/assets/../index.html', '/assets/%2e%2e/index.html', '/assets/..%2findex.html', '/assets', '/assets/', '/static/', '/static/..', '//index.html', '//health',
    '/health/', '/health/.', '/./health', '/x/../health', '/health;a=b', '/health%3b', '/\\health', '/..\\..\\etc\\passwd', '/%5c..%5c', '/HEALTH', '/api//health', '/api/health/', '/api/../health', '/data/gatehouse.db', '/gatehouse.db',
    '/secret.key', '/.env', '/proc/self/environ', '/file:///etc/passwd', '/health%20', '/health.', '/api/targets/../admin/settings', '/api/targets/%2e%2e/admin/settings', '/%252e%252e/x', '/dashboard%2e%2e/', '/C:/windows', '/con', '/dev/null'];
  for (const path of paths) {
    const [a] = answers(await raw(d.port, get(path, AUTH + close)));
    assert.equal(a.status, 404, `${path}: ${a.status} ${a.body.slice(0, 80)}`);
    assert.doesNotMatch(a.body, /root:|SQLite|"status"/, path);
  }
});

test('an escaped slash is no separator', async () => {
  for (const path of ['/api%2fhealth', '/api/targets%2f1', '/api/proxy%2fkeys', '/docs%2f..%2fhealth'])
    assert.equal(answers(await raw(d.port, get(path, AUTH + close)))[0].status, 404, path);
});

// ---- bodies ----

test('bodies above 1 MiB: 413 at once, memory flat', async () => {
  const rss = procStatus(d.child.pid, 'VmRSS');
  const [declared] = answers(await raw(d.port, login('Content-Length: 10000000000\r\n', 'x'.repeat(1000))));
  assert.equal(declared.status, 413);
  assert.ok(JSON.parse(declared.body).detail);
  const c = connect(d.port);
  c.send(login(CHUNKED));
  const piece = `10000\r\n${' '.repeat(65536)}\r\n`;
  let sent = 0;
  while (!c.closed && !c.text && sent < 400) {
    if (!c.send(piece)) await Promise.race([new Promise((r) => c.socket.once('drain', r)), until(() => c.closed || c.text, 'an answer')]);
    await new Promise((r) => setImmediate(r)); // let an answer in
    sent++;
  }
  await c.until(/^HTTP\/1\.1 413 /);
  c.close();
  assert.ok(sent < 400, `${sent} pieces of 64 KiB were taken`);
  const edge = `{"password":"${'x'.repeat((1 << 20) - 15)}"}`;
  assert.equal(edge.length, 1 << 20);
  assert.equal(answers(await raw(d.port, login(`Content-Length: ${edge.length}\r\n${close}`, edge)))[0].status, 401);
  assert.equal(answers(await raw(d.port, login(`Content-Length: ${edge.length + 1}\r\n${close}`, edge + ' ')))[0].status, 413);
  if (!isSanitized) assert.ok(procStatus(d.child.pid, 'VmRSS') - rss < 24 * 1024, 'memory is flat');
});

test('what is not JSON, or too deep, or doubled, is 400 and nothing else', async () => {
  const bodies = ['', '{', '}', '[]', '1', 'null', '"x"', '{"password":}', '{"password":"x"', "{'password':'x'}", '{"password":"\u0001"}', '{"a":1,"a":2,"password":"x"}', '['.repeat(100000), '{"a":'.repeat(65) + '1' + '}'.repeat(65), '{"password":"\\ud800"}', '\ufeff{"password":"x"}', '{"password":1e99999}', '{"password":"a\\u0000b"}', '{"password":NaN}', '{"password":01}', Buffer.from('{"password":"\xff\xfe"}', 'latin1')];
  for (const body of bodies) {
    const r = await d.request('POST', '/api/admin/login', body);
    assert.ok([400, 429].includes(r.status), `${String(body).slice(0, 40)}: ${r.status}`);
    assert.ok(r.json.detail);
  }
});

// ---- files of the page ----

describe('the embedded page', () => {
  let html;
  before(async () => { html = (await d.request('GET', '/')).text; });

  test('is one page under all of its addresses, with its policy', async () => {
    assert.match(html, /<!doctype html>/i);
    for (const path of ['/', '/index.html', '/viewer.html', '/analysis.html', '/admin.html', '/admin', '/admin/login', '/docs', '/docs/proxy', '/channels', '/channels/7/logs']) {
      const r = await d.request('GET', path);
      assert.equal(r.status, 200, path);
      assert.equal(r.text, html, path);
      assert.equal(r.headers.get('content-type'), 'text/html; charset=utf-8');
      const csp = r.headers.get('content-security-policy');
      assert.match(csp, /default-src 'none'/);
      assert.match(csp, /frame-ancestors 'none'/);
      assert.doesNotMatch(csp, /unsafe|\*|https?:/);
      assert.equal(r.headers.get('x-content-type-options'), 'nosniff');
      assert.equal(r.headers.get('referrer-policy'), 'no-referrer');
      assert.equal(r.headers.get('cache-control'), 'no-cache');
      assert.equal(r.headers.get('x-frame-options'), 'DENY');
    }
    assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)[^>]*>|<style|\bon\w+=|javascript:/i, 'nothing inline');
    assert.doesNotMatch(html, /(src|href)="(https?:)?\/\//, 'no foreign origin');
  });

  test('its files: brotli, gzip, plain; hashed names are immutable; ETag and 304', async () => {
    const files = [...html.matchAll(/(?:src|href)="(?:\.?\/)?(assets\/[^"]+)"/g)].map((m) => '/' + m[1]);
    assert.ok(files.length >= 1, html);
    for (const path of files) {
      const plain = await raw(d.port, get(path, close));
      const [a] = answers(plain);
      assert.equal(a.status, 200);
      assert.equal(a.headers['content-encoding'], undefined);
      assert.match(a.headers['cache-control'], /max-age=31536000, immutable/);
      assert.equal(a.headers.vary, 'Accept-Encoding');
      assert.match(a.headers.etag, /^"[^"]+"$/);
      assert.equal(a.headers['x-content-type-options'], 'nosniff');
      for (const [accept, coding, decode] of [['gzip, br', 'br', brotliDecompressSync], ['gzip', 'gzip', gunzipSync], ['gzip;q=1, br;q=0', 'gzip', gunzipSync], ['br;q=0, gzip;q=0.0', undefined, (x) => x]]) {
        const [e] = answers(await raw(d.port, get(path, `Accept-Encoding: ${accept}\r\n${close}`)));
        if (e.headers['content-encoding'] !== coding && e.headers['content-encoding'] === undefined && a.body.length < 1000) continue;
        assert.equal(e.headers['content-encoding'], coding, `${path} ${accept}`);
        assert.equal(decode(Buffer.from(e.body, 'latin1')).toString('latin1'), a.body);
        if (coding) assert.ok(e.body.length < a.body.length);
      }
      for (const value of [a.headers.etag, `W/${a.headers.etag}`, `"x", ${a.headers.etag}`, '*']) {
        const text = await raw(d.port, get(path, `If-None-Match: ${value}\r\n${close}`));
        assert.match(text, /^HTTP\/1\.1 304 [^]*\r\n\r\n$/);
        assert.match(text, /ETag: /);
      }
      assert.equal(answers(await raw(d.port, get(path, `If-None-Match: "other"\r\n${close}`)))[0].status, 200);
    }
    const r = await d.request('GET', '/');
    const again = await d.request('GET', '/', undefined, { 'if-none-match': r.headers.get('etag') });
    assert.equal(again.status, 304);
  });

  test('replies of the API are not kept', async () => {
    for (const path of ['/api/health', '/api/session', '/api/targets']) {
      const r = await d.request('GET', path);
      assert.equal(r.headers.get('cache-control'), 'no-store');
      assert.match(r.headers.get('vary'), /Authorization, Cookie/);
      assert.equal(r.headers.get('x-content-type-options'), 'nosniff');
    }
  });
});

// ---- deadlines ----

describe('deadlines', () => {
  let slow;
  before(async () => {
    slow = await startDaemon({ env: { GATEHOUSE_HTTP_HEAD_TIMEOUT: '300ms', GATEHOUSE_HTTP_BODY_TIMEOUT: '300ms', GATEHOUSE_HTTP_KEEPALIVE_TIMEOUT: '400ms', GATEHOUSE_HTTP_WRITE_TIMEOUT: '500ms', GATEHOUSE_HTTP_KEEPALIVE_REQUESTS: '5' } });
  });
  after(() => slow?.stop());

  test('half a head: 408 and closed', async () => {
    const c = connect(slow.port);
    c.send('GET /health HTTP/1.1\r\nHos');
    await c.untilClosed(5000);
    assert.match(c.text, /^HTTP\/1\.1 408 [^]*Connection: close/);
  });

  test('a head that drips ends at the deadline for all of it', async () => {
    const c = connect(slow.port);
    const began = performance.now();
    c.send('GET /health HTTP/1.1\r\n');
    const timer = setInterval(() => c.send('X: y\r\n'), 40);
    await c.untilClosed(5000);
    clearInterval(timer);
    assert.match(c.text, /^HTTP\/1\.1 408 /);
    assert.ok(performance.now() - began < 4000);
  });

  test('a connection that says nothing is closed', async () => {
    const c = connect(slow.port);
    await c.untilClosed(5000);
    assert.equal(c.text, '');
  });

  test('a body that stalls: 408 and closed', async () => {
    for (const bytes of [login('Content-Length: 20\r\n', '{"pass'), login(CHUNKED, '5\r\n{"p')]) {
      const c = connect(slow.port);
      c.send(bytes);
      await c.untilClosed(5000);
      assert.match(c.text, /^HTTP\/1\.1 408 [^]*Connection: close/);
    }
  });

  test('an idle connection is closed; one reaches its number of requests', async () => {
    const c = connect(slow.port);
    c.send(get('/health'));
    await c.until(/"database"/);
    await c.untilClosed(5000);
    assert.equal(answers(c.text).length, 1);
    const list = answers(await raw(slow.port, get('/health').repeat(8)));
    assert.equal(list.length, 5);
    assert.equal(list[4].headers.connection, 'close');
  });

  test('a client that never reads is cut, costs little, and disturbs nobody', async () => {
    const big = await startDaemon({ env: { GATEHOUSE_HTTP_WRITE_TIMEOUT: '500ms' } });
    const rss = procStatus(big.child.pid, 'VmRSS');
    const c = connect(big.port);
    await c.opened;
    c.socket.pause();
    c.send(get('/openapi.json').repeat(3000));
    await until(async () => {
      const { samples } = parseMetrics((await big.request('GET', '/metrics', undefined, { authorization: `Bearer ${ADMIN_TOKEN}` })).text);
      return samples.get('gatehouse_http_timeouts_total') >= 1;
    }, 'the deadline', 8000);
    if (!isSanitized) assert.ok(procStatus(big.child.pid, 'VmRSS') - rss < 24 * 1024);
    await healthy(big);
    c.close();
    await big.stop();
  });

  test('500 slow heads at once do not keep others waiting', async () => {
    const many = Array.from({ length: 500 }, () => connect(slow.port));
    for (const c of many) c.send('GET / HTTP/1.1\r\nX-');
    const began = performance.now();
    const fresh = async (path) => answers(await raw(slow.port, get(path, AUTH + close)))[0]; // kept connections end any moment here
    assert.equal((await fresh('/health')).status, 200);
    assert.ok(isSanitized || performance.now() - began < 1000);
    await Promise.all(many.map((c) => c.untilClosed(10000)));
    const { samples } = parseMetrics((await fresh('/metrics')).body);
    assert.ok(samples.get('gatehouse_http_connections') < 10);
  });
});

// ---- descriptors and caps ----

test('out of descriptors: no spin, open connections live, recovers at once', async () => {
  const few = await startDaemon({ wrap: ['prlimit', '--nofile=64:64'], env: { GATEHOUSE_WORKERS: '2' } });
  const live = connect(few.port);
  live.send(get('/health'));
  await live.until(/"database"/);
  const many = Array.from({ length: 200 }, () => connect(few.port));
  await Promise.all(many.map((c) => c.opened));
  const metric = () => readdirSync(`/proc/${few.child.pid}/fd`).length;
  if (process.getuid() === 0) await until(() => metric() >= 60, 'all descriptors in use');
  const before = cpuSeconds(few.child.pid);
  const began = performance.now();
  live.text = '';
  while (performance.now() - began < 700) { // a window to measure in
    live.text = '';
    live.send(get('/health'));
    await live.until(/"database"/);
    await new Promise((r) => setTimeout(r, 50));
  }
  const share = (cpuSeconds(few.child.pid) - before) / ((performance.now() - began) / 1000);
  assert.ok(isSanitized || share < 0.3, `${share} of a core`);
  for (const c of many) c.close();
  const freed = performance.now();
  await until(async () => (await few.request('GET', '/health')).status === 200, 'recovery', 5000);
  assert.ok(performance.now() - freed < 2000);
  live.close();
  assert.deepEqual(await few.stop(), { code: 0, signal: null });
});

test('connections per address are capped; loopback and trusted proxies are not', async (t) => {
  const own = Object.values(networkInterfaces()).flat().find((i) => i.family === 'IPv4' && !i.internal)?.address;
  if (!own) return t.skip('this machine has no address but loopback');
  for (const [trusted, refusedCount] of [['', 2], [`${own}/32`, 0]]) {
    const capped = await startDaemon({ env: { GATEHOUSE_LISTEN: '0.0.0.0:0', GATEHOUSE_HTTP_CONNECTIONS_PER_ADDRESS: '4', GATEHOUSE_TRUSTED_PROXIES: trusted } });
    const open = [];
    for (let i = 0; i < 6; i++) {
      const c = connect(capped.port, { host: own });
      c.send(get('/health'));
      await until(() => c.text || c.closed, 'an answer');
      open.push(c);
    }
    await until(() => open.filter((c) => c.closed || / 429 /.test(c.text)).length === refusedCount, `${refusedCount} refusals`);
    assert.equal(open.filter((c) => /^HTTP\/1\.1 200/.test(c.text)).length, 6 - refusedCount);
    for (let i = 0; i < 10; i++) {
      const c = connect(capped.port);
      c.send(get('/health'));
      await c.until(/^HTTP\/1\.1 200/);
      open.push(c);
    }
    open[0].close();
    await until(async () => /^HTTP\/1\.1 200/.test(await raw(capped.port, get('/health', close), { host: own })), 'a place');
    for (const c of open) c.close();
    await capped.stop();
  }
});

test('connections in all are capped with 503', async () => {
  const capped = await startDaemon({ env: { GATEHOUSE_HTTP_CONNECTIONS: '8' } });
  const open = [];
  for (let i = 0; i < 8; i++) {
    const c = connect(capped.port);
    c.send(get('/health'));
    await c.until(/^HTTP\/1\.1 200/);
    open.push(c);
  }
  assert.match(await raw(capped.port, ''), /^HTTP\/1\.1 503 [^]*Retry-After: \d+/);
  open[3].close();
  await until(async () => /^HTTP\/1\.1 200/.test(await raw(capped.port, get('/health', close))), 'a place');
  for (const c of open) c.close();
  await capped.stop();
});

test('allowed_hosts: another Host gets 421', async () => {
  const strict = await startDaemon({ env: { GATEHOUSE_ALLOWED_HOSTS: 'gate.example, 127.0.0.1' } });
  for (const [host, status] of [['gate.example', 200], ['GATE.example:8081', 200], ['evil.example', 421], ['gate.example.evil.example', 421], ['127.0.0.1', 200], ['localhost', 421]])
    assert.equal(answers(await raw(strict.port, `GET /api/session HTTP/1.1\r\nHost: ${host}\r\n${close}\r\n`))[0].status, status, host);
  assert.equal(answers(await raw(strict.port, `GET http://evil.example/api/session HTTP/1.1\r\nHost: evil.example\r\n${close}\r\n`))[0].status, 421);
  await strict.stop();
});

test('a base path: everything below it, the page knows it, cookies too', async () => {
  const based = await startDaemon({ env: { GATEHOUSE_BASE_PATH: '/x/y' } });
  assert.match(based.url, /\/x\/y$/);
  assert.equal((await based.request('GET', '/api/health')).status, 200);
  const page = await based.request('GET', '/');
  assert.match(page.text, /<base href="\/x\/y\/"/);
  const r = await request(based.url, 'POST', '/api/admin/login', { password: 'correct horse battery' });
  assert.match(r.headers.get('set-cookie'), /Path=\/x\/y;/);
  for (const [path, status] of [['/x/y', 200], ['/x/y/', 200], ['/x/yapi/health', 404], ['/x', 404]])
    assert.equal(answers(await raw(based.port, get(path, close)))[0].status, status, path);
  await based.stop();
});
