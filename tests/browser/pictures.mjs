// pictures.mjs -- makes the pictures of the README: `node tests/browser/pictures.mjs` after ./check has built
// everything. Real daemon, simulated upstreams.
import { join } from 'node:path';
import { startDaemon, startSim, until, root, closedPort, ADMIN_PASSWORD } from '../harness.mjs';
import { openBrowser, openPage } from './browser.mjs';

const sims = await Promise.all([
  startSim(['--model', 'gpt-4o', '--model', 'gpt-4o-mini', '--model', 'o4-mini', '--model', 'claude-sonnet-4-5', '--model', 'gemini-2.5-pro']),
  startSim(['--model', 'claude-sonnet-4-5', '--model', 'claude-opus-4-1', '--model', 'claude-haiku-4-5']),
  startSim(['--model', 'gemini-2.5-pro', '--model', 'gemini-2.5-flash']),
]);
const daemon = await startDaemon();
const browser = await openBrowser();
const channels = [
  ['openrouter-fallback', sims[0].url],
  ['claude-direct', sims[1].url],
  ['gemini-pool', sims[2].url],
  ['azure-gpt-eastus2', sims[0].url],
  ['relay-east', `http://127.0.0.1:${await closedPort()}`],
  ['deepseek-official', sims[0].url],
];

async function runAll(ids) {
  for (const id of ids) {
    const { run_id } = await daemon.api('POST', `/api/targets/${id}/run`);
    await until(async () => {
      const { item } = await daemon.api('GET', `/api/targets/${id}`);
      return !item.running && item.last_run_id >= run_id;
    }, 'the end of a run');
  }
}

const ids = [];
for (const [name, base_url] of channels) ids.push((await daemon.api('POST', '/api/targets', { name, base_url, api_key: 'sk-pictures-000000000001', timeout_s: 5 })).item.id);
for (const sim of sims) await sim.behave({ model: '*', delay_ms: 40, jitter_ms: 300 });
for (let round = 0; round < 12; round++) {
  if (round === 9) await sims[2].behave({ model: 'gemini-2.5-pro', status: 429, body: '{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}' });
  await runAll(ids);
}
for (const [file, dark, path] of [['channels-light', false, '/'], ['channel-dark', true, `/channels/${ids[2]}`]]) {
  const page = await openPage(browser, daemon.url + '/', { dark, width: 1200, height: 620 });
  await page.getByLabel('Password').fill(ADMIN_PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation').waitFor();
  await page.goto(daemon.url + path);
  await page.getByText('Live', { exact: true }).waitFor();
  await page.getByText('gemini-pool').first().waitFor();
  await page.screenshot({ path: join(root, 'docs', 'img', `${file}.png`) });
}
await browser.close();
await daemon.stop();
await Promise.all(sims.map((s) => s.stop()));
process.exit(0);
