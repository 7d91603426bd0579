// browser.mjs -- Debian's Chromium by playwright-core; a page that collects what must not happen:
// console errors, CSP violations, requests to another origin.
import { chromium } from 'playwright-core';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../harness.mjs';

export const shots = join(root, 'build', 'check', 'shots');

export async function openBrowser() {
  mkdirSync(shots, { recursive: true });
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

export async function openPage(browser, url, { width = 1440, height = 900, dark = false, ...rest } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', locale: 'en-US', ...rest });
  const page = await context.newPage();
  page.faults = [];
  const origin = new URL(url).origin;
  page.on('console', (m) => {
    // A refused sign-in is an answer, not a fault.
    if (m.type() === 'error' && !/status of 4\d\d|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_NETWORK/.test(m.text())) page.faults.push(m.text());
  });
  page.on('pageerror', (e) => page.faults.push(String(e)));
  page.on('request', (r) => {
    if (!r.url().startsWith(origin) && !r.url().startsWith('data:')) page.faults.push(`foreign request ${r.url()}`);
  });
  await page.goto(url);
  return page;
}

export const shot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
