// Where the daemon listens and whom it believes: Unix socket, IPv6, TLS with reload, trusted proxies.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import net from 'node:net';
import tls from 'node:tls';
import { startDaemon, runBinary, raw, connect, answers, request, tempDir, until, ADMIN_PASSWORD, ADMIN_TOKEN } from '../harness.mjs';

const get = (path, headers = '') => `GET ${path} HTTP/1.1\r\nHost: a.example\r\n${headers}\r\n`;
const close = 'Connection: close\r\n';

describe('Unix socket', () => {
  const dir = tempDir();
  const path = join(dir, 'gate.sock');
  after(() => rmSync(dir, { recursive: true, force: true }));
  const start = (extra = {}) => startDaemon({ env: { GATEHOUSE_LISTEN: `unix:${path},127.0.0.1:0`, ...extra } });

  test('serves beside TCP, only for owner and group, again after a kill', async () => {
    let d = await start();
    assert.match(d.out, new RegExp(`listens on unix:${path}`));
    assert.equal(statSync(path).mode & 0o777, 0o660);
    const c = connect(0, { path });
    c.send(get('/health', close));
    await c.untilClosed();
    assert.equal(answers(c.text)[0].status, 200);
    assert.equal((await d.request('GET', '/health')).status, 200);
    await d.kill();
    assert.ok(existsSync(path), 'a killed process leaves its socket');
    d = await start();
    const again = connect(0, { path });
    again.send(get('/health', close));
    await again.untilClosed();
    assert.equal(answers(again.text)[0].status, 200);
    // somebody listens there: no second process takes it
    const other = tempDir();
    const second = await runBinary(['serve'], { dataDir: other, env: { GATEHOUSE_LISTEN: `unix:${path}` } });
    assert.equal(second.code, 1);
    assert.match(second.stderr, /another process listens/);
    await d.stop();
    rmSync(other, { recursive: true, force: true });
  });

  test('takes no path that is a file', async () => {
    const file = join(dir, 'precious');
    writeFileSync(file, 'precious');
    const r = await runBinary(['serve'], { dataDir: join(dir, 'data'), env: { GATEHOUSE_LISTEN: `unix:${file}` } });
    assert.notEqual(r.code, 0);
    assert.match(r.stderr, /precious exists and is not a socket/);
    assert.equal(readFileSync(file, 'utf8'), 'precious');
  });

  test('its peers may say for whom they ask', async () => {
    const d = await start();
    const c = connect(0, { path });
    const body = JSON.stringify({ password: ADMIN_PASSWORD });
    c.send(`POST /api/admin/login HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nContent-Length: ${body.length}\r\n${close}\r\n${body}`);
    await c.untilClosed();
    assert.match(c.text, /Set-Cookie: [^\r]*; Secure/);
    const sessions = await d.api('GET', '/api/admin/sessions');
    assert.deepEqual(sessions.items.map((s) => s.address), ['203.0.113.9']);
    await d.stop();
  });
});

test('IPv6', async (t) => {
  if (!Object.values(networkInterfaces()).flat().some((i) => i.address === '::1')) return t.skip('this machine has no ::1');
  const d = await startDaemon({ env: { GATEHOUSE_LISTEN: '[::1]:0' } });
  assert.match(d.url, /^http:\/\/\[::1\]:\d+$/);
  assert.equal((await request(d.url, 'GET', '/health')).status, 200);
  assert.equal((await fetch(`${d.url}/api/session`)).status, 200);
  await d.stop();
});

test('PORT alone moves the default listener, which takes every address', async () => {
  const probe = net.createServer().listen(0);
  const port = probe.address().port;
  await new Promise((r) => probe.close(r));
  const d = await startDaemon({ env: { GATEHOUSE_LISTEN: '', PORT: String(port) } });
  assert.equal(d.port, port);
  assert.equal((await d.request('GET', '/health')).status, 200);
  await d.stop();
});

test('an address in use: exit 1 with the address', async () => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await until(() => holder.address(), 'the holder');
  const dir = tempDir();
  const r = await runBinary(['serve'], { dataDir: dir, env: { GATEHOUSE_LISTEN: `127.0.0.1:${holder.address().port}` } });
  assert.equal(r.code, 1);
  assert.match(r.stderr, new RegExp(`cannot listen on 127.0.0.1:${holder.address().port}`));
  holder.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('TLS', () => {
  const dir = tempDir();
  const cert = join(dir, 'cert.pem');
  const key = join(dir, 'key.pem');
  const make = (name) => {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.crt`)], { stdio: 'ignore' });
  };
  const use = (name) => {
    copyFileSync(join(dir, `${name}.key`), key);
    copyFileSync(join(dir, `${name}.crt`), cert);
  };
  const open = (port, options = {}) => new Promise((resolve, reject) => {
    const s = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }, () => resolve(s));
    s.text = '';
    s.on('data', (b) => (s.text += b.toString('latin1')));
    s.on('error', reject);
  });
  let d;
  before(async () => {
    make('first');
    make('second');
    use('first');
    d = await startDaemon({ env: { GATEHOUSE_TLS_CERT: cert, GATEHOUSE_TLS_KEY: key } });
  });
  after(async () => {
    await d?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('a certificate makes the listener speak it, verified by its own authority', async () => {
    assert.match(d.url, /^https:/);
    const s = await open(d.port, { rejectUnauthorized: true, ca: readFileSync(cert), servername: 'localhost' });
    assert.match(s.getProtocol(), /^TLSv1\.[23]$/);
    s.write(get('/health', close));
    await until(() => /"database"/.test(s.text), 'an answer');
    s.destroy();
  });

  test('pipelining, large answers, bytes one by one', async () => {
    const s = await open(d.port);
    s.write(get('/openapi.json').repeat(5) + get('/ready', close));
    await until(() => /"ready"}\n$/.test(s.text), 'the last answer');
    assert.equal(answers(s.text).length, 6);
    const slow = await open(d.port);
    for (const b of Buffer.from(get('/health', close))) slow.write(Buffer.of(b));
    await until(() => /"database"/.test(slow.text), 'an answer');
  });

  test('cookies are Secure', async () => {
    const s = await open(d.port);
    const body = JSON.stringify({ password: ADMIN_PASSWORD });
    s.write(`POST /api/admin/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n${close}\r\n${body}`);
    await until(() => /Set-Cookie: [^\r]*; HttpOnly; SameSite=Strict; Secure\r\n/.test(s.text), 'a Secure cookie');
  });

  test('TLS 1.1 and clear text are refused', async () => {
    await assert.rejects(open(d.port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }));
    assert.doesNotMatch(await raw(d.port, get('/health')), /200 OK/);
    assert.doesNotMatch(await raw(d.port, Buffer.from([0x16, 3, 1, 0xff, 0xff, ...Array(300).fill(0x41)])), /200 OK/);
    const s = await open(d.port);
    s.write(get('/health', close));
    await until(() => /"database"/.test(s.text), 'an answer');
  });

  test('HUP takes a new certificate; open connections live; a broken one leaves the old', async () => {
    const old = await open(d.port);
    assert.equal(old.getPeerCertificate().subject.CN, 'first');
    use('second');
    d.child.kill('SIGHUP');
    await until(() => /certificate read again/.test(d.log), 'the reload');
    const fresh = await open(d.port);
    assert.equal(fresh.getPeerCertificate().subject.CN, 'second');
    old.write(get('/health'));
    await until(() => /"database"/.test(old.text), 'an answer on the old connection');
    for (const [what, bytes] of [['no certificate', 'nonsense'], ['nothing', '']]) {
      writeFileSync(cert, bytes);
      d.child.kill('SIGHUP');
      const count = d.log.split('the old certificate stays').length;
      await until(() => d.log.split('the old certificate stays').length >= count, `a complaint about ${what}`);
      assert.equal((await open(d.port)).getPeerCertificate().subject.CN, 'second');
    }
    copyFileSync(join(dir, 'first.crt'), cert); // with the key of the second
    d.child.kill('SIGHUP');
    await until(() => d.log.split('the old certificate stays').length >= 4, 'three complaints');
    assert.equal((await open(d.port)).getPeerCertificate().subject.CN, 'second');
    use('first');
    d.child.kill('SIGHUP');
    await until(() => d.log.split('certificate read again').length === 3, 'the second reload');
    assert.equal((await open(d.port)).getPeerCertificate().subject.CN, 'first');
  });

  test('tls:// picks the listeners that speak it; a broken certificate is no start', async () => {
    const mixed = await startDaemon({
      env: { GATEHOUSE_TLS_CERT: cert, GATEHOUSE_TLS_KEY: key, GATEHOUSE_LISTEN: 'tls://127.0.0.1:0,127.0.0.1:0' },
    });
    const [, secure, clear] = /https:\/\/127\.0\.0\.1:(\d+)[^]*http:\/\/127\.0\.0\.1:(\d+)/.exec(mixed.out);
    assert.match(await raw(Number(clear), get('/health', close)), /^HTTP\/1\.1 200/);
    (await open(Number(secure))).destroy();
    await mixed.stop();
    const other = tempDir();
    const bad = await runBinary(['serve'], { dataDir: other, env: { GATEHOUSE_TLS_CERT: '/nonexistent', GATEHOUSE_TLS_KEY: key } });
    assert.ok([1, 78].includes(bad.code), `${bad.code}`);
    assert.match(bad.stderr, /\/nonexistent/);
    const lone = await runBinary(['serve'], { dataDir: other, env: { GATEHOUSE_LISTEN: 'tls://127.0.0.1:0' } });
    assert.equal(lone.code, 78);
    assert.match(lone.stderr, /needs tls\.cert/);
    rmSync(other, { recursive: true, force: true });
  });
});

describe('forwarded headers', () => {
  // The address each session was opened from shows whom the daemon took for the client.
  const addressSeen = async (d, headers) => {
    await d.api('DELETE', '/api/admin/sessions');
    const r = await request(d.url, 'POST', '/api/admin/login', { password: ADMIN_PASSWORD }, headers);
    assert.equal(r.status, 200);
    return { address: (await d.api('GET', '/api/admin/sessions')).items[0].address, cookie: r.headers.get('set-cookie') };
  };

  test('are ignored from anybody by default', async () => {
    const d = await startDaemon();
    for (const headers of [{ 'x-forwarded-for': '203.0.113.9' }, { 'x-real-ip': '203.0.113.9' }, { 'cf-connecting-ip': '203.0.113.9' }, { forwarded: 'for=203.0.113.9' }])
      assert.equal((await addressSeen(d, headers)).address, '127.0.0.1');
    assert.doesNotMatch((await addressSeen(d, { 'x-forwarded-proto': 'https' })).cookie, /Secure/);
    await d.stop();
  });

  test('are believed from trusted proxies: the rightmost hop that is not one', async () => {
    const d = await startDaemon({ env: { GATEHOUSE_TRUSTED_PROXIES: '127.0.0.0/8 198.51.100.0/24' } });
    for (const [forwarded, address] of [
      ['203.0.113.9', '203.0.113.9'],
      ['1.2.3.4, 203.0.113.9', '203.0.113.9'],
      ['1.2.3.4, 203.0.113.9, 198.51.100.7', '203.0.113.9'],
      ['203.0.113.9,198.51.100.7,198.51.100.8', '203.0.113.9'],
      ['2001:db8::5', '2001:db8::5'],
      ['203.0.113.9, nonsense', '127.0.0.1'],
      ['203.0.113.9, nonsense, 198.51.100.7', '198.51.100.7'],
      ['', '127.0.0.1'],
    ]) assert.equal((await addressSeen(d, { 'x-forwarded-for': forwarded })).address, address, forwarded);
    assert.match((await addressSeen(d, { 'x-forwarded-proto': 'https' })).cookie, /Secure/);
    assert.match((await addressSeen(d, { 'x-forwarded-proto': 'http, https' })).cookie, /Secure/);
    assert.doesNotMatch((await addressSeen(d, { 'x-forwarded-proto': 'https, http' })).cookie, /Secure/);
    await d.stop();
  });

  test('TRUST_PROXY_HEADERS believes loopback and private peers', async () => {
    const d = await startDaemon({ env: { TRUST_PROXY_HEADERS: 'true' } });
    assert.equal((await addressSeen(d, { 'x-forwarded-for': '203.0.113.9, 10.1.2.3' })).address, '203.0.113.9');
    await d.stop();
  });
});
