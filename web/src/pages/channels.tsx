import { useState } from 'preact/hooks';
import type { Target } from '../api';
import { formatPercent, formatTime } from '../format';
import { Shape, Strip, stateOf } from '../parts/state';
import { link } from '../route';
import { session, sorted, targets } from '../store';
import { AddChannel } from './add';

function protocols(t: Target): string {
  const names: Record<string, string> = { openai: 'OpenAI', anthropic: 'Claude', gemini: 'Gemini' };
  const counts = new Map<string, number>();
  for (const m of t.latest_models) counts.set(m.protocol, (counts.get(m.protocol) ?? 0) + 1);
  return [...counts].map(([p, n]) => `${names[p] ?? p} ${n}`).join(' · ');
}

// All models' points of one check laid together: a cell is good when all of its models were.
function together(t: Target) {
  const length = Math.max(0, ...t.latest_models.map((m) => m.history.length));
  return Array.from({ length }, (_, i) => {
    const cells = t.latest_models.map((m) => m.history[m.history.length - length + i]).filter((p) => p !== undefined);
    const bad = cells.find((p) => !p.success);
    const first = cells[0];
    return bad ?? first;
  }).filter((p) => p !== undefined);
}

function reason(t: Target): string {
  if (t.running) return 'checking now';
  if (t.last_error) return t.last_error;
  const bad = t.latest_models.filter((m) => !m.success);
  if (bad.length) return `${bad.length} of ${t.latest_models.length} models failed: ${bad[0]?.error ?? ''}`;
  return protocols(t) || (t.last_run_at ? '' : 'never checked');
}

function Row({ t }: { t: Target }) {
  const state = stateOf(t);
  const bad = state === 'down' || state === 'warn';
  return (
    <li class="border-t border-line first:border-0">
      <a {...link(`/channels/${t.id}`)} class="grid grid-cols-[14px_1fr_auto] items-center gap-x-3 gap-y-1 px-5 py-3 hover:bg-hover md:grid-cols-[14px_minmax(0,1fr)_186px_72px_64px_112px]">
        <Shape state={state} />
        <span class="min-w-0">
          <bdi class="block truncate font-medium" title={t.name}>{t.name}</bdi>
          <span class={`block truncate text-[12px]/[16px] ${bad ? (state === 'down' ? 'text-down-text' : 'text-warn-text') : 'text-text3'}`} title={reason(t)}>{reason(t)}</span>
        </span>
        <span class="hidden md:block"><Strip points={together(t)} name={t.name} /></span>
        <span class="hidden text-right md:block">{t.last_success_rate === null ? '–' : formatPercent(t.last_success_rate)}</span>
        <span class="text-right">{t.last_total === null ? '–' : `${t.last_success}/${t.last_total}`}</span>
        <span class="hidden text-right whitespace-nowrap text-text3 md:block">{t.running ? 'now' : t.last_run_at ? formatTime(t.last_run_at) : 'never'}</span>
      </a>
    </li>
  );
}

function verdict(list: Target[]): string {
  const bad = list.filter((t) => stateOf(t) === 'down').map((t) => t.name);
  const weak = list.filter((t) => stateOf(t) === 'warn').map((t) => t.name);
  const names = (all: string[]) => all.slice(0, 2).join(' and ') + (all.length > 2 ? ` and ${all.length - 2} more` : '');
  if (bad.length) return `${names(bad)} ${bad.length > 1 ? 'are' : 'is'} down.`;
  if (weak.length) return `${names(weak)} ${weak.length > 1 ? 'are' : 'is'} degraded.`;
  if (list.every((t) => stateOf(t) === 'unk' || stateOf(t) === 'paused')) return 'Nothing has been checked yet.';
  return 'Every channel answers.';
}

export function Channels() {
  const [adding, setAdding] = useState(false);
  const list = targets.value;
  const admin = session.value?.role === 'admin';
  return (
    <>
      <div class="mb-5 flex flex-wrap items-center justify-between gap-3">
        <h1 class="verdict">{list?.length ? verdict(list) : 'Channels'}</h1>
        {admin && <button class="btn btn-primary" onClick={() => setAdding(true)}>Add channel</button>}
      </div>
      {list && list.length === 0 && (
        <div class="card p-10 text-center">
          <p class="font-medium">No channel yet</p>
          <p class="mt-1 mb-4 text-[13px]/[18px] text-text2">A channel is one upstream account: an address and a key. Add one and its models are checked at once.</p>
          {admin && <button class="btn btn-primary" onClick={() => setAdding(true)}>Add channel</button>}
        </div>
      )}
      {list && list.length > 0 && (
        <section class="card overflow-hidden" aria-label="Channels, worst first">
          <div class="hidden grid-cols-[14px_minmax(0,1fr)_186px_72px_64px_112px] gap-x-3 border-b border-line px-5 py-2 text-[12px]/[16px] text-text3 md:grid">
            <span /><span>Channel, worst first</span><span>Last 30 checks</span><span class="text-right">Success</span><span class="text-right">Models</span><span class="text-right">Checked</span>
          </div>
          <ul>{sorted.value.map((t) => <Row key={t.id} t={t} />)}</ul>
        </section>
      )}
      {adding && <AddChannel onClose={() => setAdding(false)} />}
    </>
  );
}

