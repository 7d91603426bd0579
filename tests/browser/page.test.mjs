// A person's first minutes with the page, in real Chromium.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startDaemon, startAimock, startSim, closedPort, ADMIN_PASSWORD, until } from '../harness.mjs';
import { openBrowser, openPage, shot } from './browser.mjs';

let daemon, mock, sim, browser;

before(async () => {
  sim = await startSim();
  mock = await startAimock();
  daemon = await startDaemon();
  browser = await openBrowser();
  mock.onMessage(/.*/, { content: 'I am a model' });
});
after(async () => {
  await browser?.close();
  await Promise.all([daemon?.stop(), mock?.stop(), sim?.stop()]);
});

async function signIn(page) {
  await page.getByLabel('Password').fill(ADMIN_PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation').waitFor();
}

test('sign in: a wrong password is told, the right one opens the page', async () => {
  const page = await openPage(browser, daemon.url + '/');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Wrong password.').waitFor();
  await shot(page, 'signin-light-1440');
  await signIn(page);
  await page.getByText('No channel yet').waitFor();
  await shot(page, 'empty-light-1440');
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('a channel is added by hand and its first results stream in', async () => {
  const page = await openPage(browser, daemon.url + '/');
  await signIn(page);
  await page.getByRole('button', { name: 'Add channel' }).first().click();
  await page.getByLabel('Name').fill('aimock');
  await page.getByLabel('Base URL').fill(mock.url);
  await page.getByLabel('API key').fill('sk-test-key-000000001234');
  await shot(page, 'add-light-1440');
  await page.getByRole('button', { name: 'Add and check' }).click();
  await page.getByRole('heading', { name: 'aimock' }).waitFor();
  await page.getByText('gpt-4o', { exact: true }).waitFor();
  await page.getByText(/\d of \d answered/).waitFor();
  await page.getByRole('heading', { name: 'Runs' }).waitFor();
  await shot(page, 'channel-light-1440');
  const html = await page.content();
  assert.ok(!html.includes('sk-test-key-000000001234'), 'the key is nowhere in the page');
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('a second page sees a run of the first without reloading', async () => {
  const page = await openPage(browser, daemon.url + '/', { dark: true });
  await signIn(page);
  const { items } = await daemon.api('GET', '/api/targets');
  await page.goto(`${daemon.url}/channels/${items[0].id}`);
  await page.getByRole('heading', { name: 'Runs' }).waitFor();
  const rows = await page.locator('tbody tr').count();
  await page.evaluate(() => (globalThis.stillHere = true));
  await until(async () => (await daemon.request('POST', `/api/targets/${items[0].id}/run`, undefined, { authorization: 'Bearer amtk-test-0123456789abcdef' })).status === 200, 'a free run slot');
  await until(async () => (await page.locator('tbody tr').count()) > rows, 'the new run in the table');
  assert.equal(await page.evaluate(() => globalThis.stillHere), true);
  await shot(page, 'channel-dark-1440');
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('faults are told in words; hostile names and errors are shown as text', async () => {
  const auth = { authorization: 'Bearer amtk-test-0123456789abcdef' };
  await sim.behave({ route: 'models', fault: 'list-hostile' });
  await sim.behave({ model: '*', status: 500, body: '{"error":{"message":"<b>boom</b><script>alert(1)</script>"}}' });
  const markup = await daemon.api('POST', '/api/targets', { name: '<img src=x onerror=alert(1)>', base_url: sim.url, api_key: 'k'.repeat(20), timeout_s: 5 });
  const closed = await closedPort();
  const away = await daemon.api('POST', '/api/targets', { name: 'away', base_url: `http://127.0.0.1:${closed}`, api_key: 'k'.repeat(20), timeout_s: 3 });
  for (const { item } of [markup, away]) await daemon.request('POST', `/api/targets/${item.id}/run`, undefined, auth);
  await until(async () => (await daemon.api('GET', `/api/targets/${markup.item.id}`)).item.last_status, 'the end of the run');
  const page = await openPage(browser, daemon.url + '/', { width: 360, height: 800 });
  page.on('dialog', (d) => page.faults.push(`dialog: ${d.message()}`));
  await signIn(page);
  await page.getByText('GET /v1/models failed').waitFor();
  await page.getByText('are down.').waitFor();
  await shot(page, 'channels-light-360');
  const wide = await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  assert.ok(wide, 'no sideways scroll at 360 px');
  assert.deepEqual(page.faults, []);
  await page.setViewportSize({ width: 1440, height: 900 });
  await shot(page, 'channels-light-1440');
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot(page, 'channels-dark-1440');
  await page.goto(`${daemon.url}/channels/${markup.item.id}`);
  await page.getByText('<b>boom</b>').first().waitFor();
  assert.equal(await page.locator('b').count(), 0);
  await shot(page, 'hostile-dark-1440');
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('the API document is readable without signing in', async () => {
  const page = await openPage(browser, daemon.url + '/docs');
  await page.getByText('GET /api/health').waitFor();
  await page.getByText('POST /api/targets', { exact: true }).click();
  await page.getByText('base_url *').waitFor();
  await shot(page, 'docs-light-1440');
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('the daemon goes away and comes back: the page says so and keeps its data', async () => {
  const own = await startDaemon();
  await own.api('POST', '/api/targets', { name: 'kept', base_url: mock.url, api_key: 'k'.repeat(20) });
  const page = await openPage(browser, own.url + '/');
  await signIn(page);
  await page.getByText('kept', { exact: true }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  await own.kill();
  await page.getByText(/Reconnecting/).waitFor();
  assert.ok(await page.getByText('kept', { exact: true }).isVisible());
  const again = await startDaemon({ dataDir: own.dataDir, env: { GATEHOUSE_LISTEN: `127.0.0.1:${own.port}`, PORT: String(own.port) } });
  await page.getByText('Live', { exact: true }).waitFor({ timeout: 15000 });
  assert.ok(await page.getByText('kept', { exact: true }).isVisible());
  await page.context().close();
  await again.stop();
});

test('the page works below a base path', async () => {
  const own = await startDaemon({ env: { GATEHOUSE_BASE_PATH: '/x/y/' } });
  const page = await openPage(browser, new URL('/x/y/', own.url).href);
  await signIn(page);
  await page.getByText('No channel yet').waitFor();
  await page.getByRole('link', { name: 'API' }).click();
  await page.getByText('GET /api/health').waitFor();
  assert.equal(new URL(page.url()).pathname, '/x/y/docs');
  await page.reload();
  await page.getByText('GET /api/health').waitFor();
  const cookies = await page.context().cookies();
  assert.equal(cookies.find((c) => c.name === 'api_monitor_admin_session')?.path, '/x/y');
  assert.deepEqual(page.faults, []);
  await page.context().close();
  await own.stop();
});

test('a list longer than a page is whole', async () => {
  const own = await startDaemon();
  const text = Array.from({ length: 230 }, (_, i) => `many-${String(i).padStart(3, '0')} ${mock.url} sk-many-000000000${i}`);
  for (const line of text) {
    const [name, base_url, api_key] = line.split(' ');
    await own.api('POST', '/api/targets', { name, base_url, api_key, enabled: false });
  }
  const page = await openPage(browser, own.url + '/');
  await signIn(page);
  await page.getByText('many-229', { exact: true }).waitFor();
  assert.equal(await page.locator('li').count(), 230);
  assert.deepEqual(page.faults, []);
  await page.context().close();
  await own.stop();
});
