// api.ts -- the daemon's API as the page uses it. Addresses are relative to <base>, so a base path
// needs no code.

export interface HistoryPoint {
  success: boolean;
  duration: number;
  timestamp: number;
  error: string | null;
  status_code: number | null;
}

export interface ModelStatus {
  model: string;
  protocol: string;
  success: boolean;
  duration: number;
  error: string | null;
  history: HistoryPoint[];
}

export type TargetStatus = 'healthy' | 'degraded' | 'down' | 'error' | 'no_models';

export interface Target {
  id: number;
  name: string;
  base_url: string;
  api_key: string;
  enabled: boolean;
  interval_min: number;
  timeout_s: number;
  verify_ssl: boolean;
  updated_at: number;
  last_run_at: number | null;
  last_status: TargetStatus | null;
  last_total: number | null;
  last_success: number | null;
  last_fail: number | null;
  last_error: string | null;
  last_success_rate: number | null;
  source_url: string | null;
  running: boolean;
  latest_models: ModelStatus[];
  can_operate?: boolean;
  warnings?: string[];
}

export interface Run {
  id: number;
  target_id: number;
  started_at: number;
  finished_at: number | null;
  status: 'running' | 'completed' | 'error';
  total: number;
  success: number;
  fail: number;
  error: string | null;
}

export interface Session {
  role: 'admin' | 'visitor' | 'anonymous';
  by: string | null;
  version: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    detail: string,
    readonly field: string | undefined,
    readonly retryAfter: number | undefined,
  ) {
    super(detail);
  }
}

// The parsed answer, or an ApiError with the daemon's own words; status 0 = it could not be reached.
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let reply: Response;
  try {
    const init: RequestInit = { method, credentials: 'same-origin' };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { 'content-type': 'application/json' };
    }
    reply = await fetch(path, init);
  } catch {
    throw new ApiError(0, 'The daemon cannot be reached. Is it running, and is the network up?', undefined, undefined);
  }
  const text = await reply.text();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ApiError(reply.status, `Unexpected answer (${reply.status}). Does a proxy stand in front with another base path?`, undefined, undefined);
  }
  if (!reply.ok) {
    const e = json as { detail?: string; field?: string };
    throw new ApiError(reply.status, e.detail ?? `Refused (${reply.status})`, e.field, Number(reply.headers.get('retry-after')) || undefined);
  }
  return json as T;
}

// A channel with ten models and their histories is some 30 KB: a house of a thousand comes in pieces.
const pageOfTargets = 100;

export const api = {
  session: () => call<Session>('GET', 'api/session'),
  login: (password: string) => call<{ ok: true }>('POST', 'api/admin/login', { password }),
  logout: () => call<{ ok: true }>('POST', 'api/admin/logout'),
  // One page in the order of the list; `next` is null at the end.
  targets: (after: string | null) => call<{ items: Target[]; next: string | null }>('GET', `api/targets?limit=${pageOfTargets}${after === null ? '' : `&after=${encodeURIComponent(after)}`}`),
  target: (id: number) => call<{ item: Target }>('GET', `api/targets/${id}`),
  create: (t: { name: string; base_url: string; api_key: string; interval_min?: number }) => call<{ item: Target }>('POST', 'api/targets', t),
  patch: (id: number, t: Partial<Target>) => call<{ item: Target }>('PATCH', `api/targets/${id}`, t),
  remove: (id: number) => call<{ ok: true }>('DELETE', `api/targets/${id}`),
  run: (id: number) => call<{ ok: true; message: string }>('POST', `api/targets/${id}/run`),
  runs: (id: number) => call<{ items: Run[] }>('GET', `api/targets/${id}/runs?limit=20`),
};
