// channels.mjs -- what tests of channels do all the time: make one, run it, read what came of it.
import { readFileSync } from 'node:fs';
import { ADMIN_TOKEN, until } from '../harness.mjs';

export const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
export const KEY = 'sk-planted-upstream-key-0001';
let serial = 0;

export async function create(daemon, base_url, extra = {}) {
  const body = { name: `channel-${++serial}`, base_url, api_key: KEY, enabled: false, ...extra };
  return (await daemon.api('POST', '/api/targets', body)).item;
}

export const item = async (daemon, id) => (await daemon.api('GET', `/api/targets/${id}`)).item;
export const rows = async (daemon, id, query = '') => (await daemon.api('GET', `/api/targets/${id}/logs?${query}`)).items;
export const runs = async (daemon, id) => (await daemon.api('GET', `/api/targets/${id}/runs`)).items;

// The item once a run, this or a later one, is over and its rows can be read.
export function finished(daemon, id, run_id = 1) {
  return until(async () => {
    const t = await item(daemon, id);
    return !t.running && t.last_run_id >= run_id && t;
  }, `the end of run ${run_id} of channel ${id}`);
}

export async function run(daemon, id) {
  const { run_id } = await daemon.api('POST', `/api/targets/${id}/run`);
  return finished(daemon, id, run_id);
}

export const lines = (file) => readFileSync(file, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l));

// What an llm-sim was asked, oldest first, as {method, target, route, model, headers, body (parsed), outcome, fault, ...}.
export async function asked(sim) {
  const { requests } = await sim.requests();
  return requests.toSorted((a, b) => a.number - b.number).map((r) => ({
    ...r,
    headers: Object.fromEntries(r.headers.map(([k, v]) => [k.toLowerCase(), v])),
    body: r.body ? JSON.parse(r.body) : null,
  }));
}
