// store.ts -- what the page knows, as signals, kept fresh by the event stream. A result is put in
// place as it arrives; lists are fetched again only when the stream says that something was missed.
import { computed, signal } from '@preact/signals';
import { api, ApiError, type ModelStatus, type Session, type Target } from './api';

export const session = signal<Session | null>(null);
export const targets = signal<Target[] | null>(null);
export const failure = signal<string | null>(null);
export const freshAt = signal<number>(0); // ms; when the list was last known to be true
export const connected = signal(false);
export const toast = signal<string | null>(null);

const byTrouble = { down: 0, error: 0, degraded: 1, no_models: 2, healthy: 3 } as const;

// Worst first; what was never checked stands before the healthy.
export const sorted = computed(() =>
  [...(targets.value ?? [])].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name)),
);

function rank(t: Target): number {
  if (!t.enabled) return 4;
  return t.last_status ? byTrouble[t.last_status] : 2;
}

export async function loadSession(): Promise<void> {
  try {
    session.value = await api.session();
    failure.value = null;
  } catch (e) {
    failure.value = (e as Error).message;
  }
}

// The first load shows each page as it comes; later ones put the whole list in place at once.
export async function loadTargets(): Promise<void> {
  const isFirst = targets.value === null;
  const all: Target[] = [];
  try {
    let next: string | null = null;
    do {
      const page = await api.targets(next);
      all.push(...page.items);
      next = page.next;
      if (isFirst) targets.value = [...all];
    } while (next !== null);
    targets.value = all;
    freshAt.value = Date.now();
    failure.value = null;
  } catch (e) {
    if (e instanceof ApiError && e.status === 401) session.value = { role: 'anonymous', by: null, version: '' };
    else failure.value = (e as Error).message;
  }
}

async function reloadOne(id: number): Promise<void> {
  try {
    const item = (await api.target(id)).item;
    const list = targets.value ?? [];
    targets.value = list.some((t) => t.id === id) ? list.map((t) => (t.id === id ? { ...t, ...item } : t)) : [...list, item];
  } catch (e) {
    if (e instanceof ApiError && e.status === 404) targets.value = (targets.value ?? []).filter((t) => t.id !== id);
  }
}

interface ModelResult {
  target_id: number;
  model: string;
  protocol: string;
  success: boolean;
  duration: number;
  status_code: number | null;
  error: string | null;
  timestamp: number;
}

function putResult(r: ModelResult): void {
  const point = { success: r.success, duration: r.duration, timestamp: r.timestamp, error: r.error, status_code: r.status_code };
  targets.value = (targets.value ?? []).map((t) => {
    if (t.id !== r.target_id) return t;
    const old = t.latest_models.find((m) => m.model === r.model);
    const model: ModelStatus = { model: r.model, protocol: r.protocol, success: r.success, duration: r.duration, error: r.error, history: [...(old?.history ?? []), point].slice(-30) };
    const rest = t.latest_models.filter((m) => m.model !== r.model);
    return { ...t, running: true, latest_models: [...rest, model].sort((a, b) => (a.model < b.model ? -1 : 1)) };
  });
}

function mark(id: number, running: boolean): void {
  targets.value = (targets.value ?? []).map((t) => (t.id === id ? { ...t, running } : t));
}

let source: EventSource | null = null;

export function connect(): void {
  source?.close();
  source = new EventSource('api/events');
  source.addEventListener('connected', () => {
    if (!connected.value) void loadTargets(); // what happened while we were away
    connected.value = true;
    freshAt.value = Date.now();
  });
  source.addEventListener('error', () => (connected.value = false));
  const on = (name: string, fn: (data: never) => void) =>
    source?.addEventListener(name, (e) => {
      freshAt.value = Date.now();
      fn(JSON.parse((e as MessageEvent<string>).data) as never);
    });
  on('model_result', putResult);
  on('run_started', (d: { target_id: number }) => mark(d.target_id, true));
  on('run_completed', (d: { target_id: number }) => void reloadOne(d.target_id));
  on('target_updated', (d: { action: string; target_id: number }) => void (d.target_id > 0 ? reloadOne(d.target_id) : loadTargets()));
  on('resync', () => void loadTargets());
  on('auth_changed', () => void loadSession());
}

export function disconnect(): void {
  source?.close();
  source = null;
  connected.value = false;
}

export function say(text: string): void {
  toast.value = text;
  setTimeout(() => {
    if (toast.value === text) toast.value = null;
  }, 10000);
}
