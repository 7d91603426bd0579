// state.tsx -- a state is shape + word + colour, never colour alone.
import type { HistoryPoint, Target } from '../api';
import { formatSeconds, formatTime } from '../format';

export type State = 'ok' | 'warn' | 'down' | 'unk' | 'paused';

export function stateOf(t: Target): State {
  if (!t.enabled) return 'paused';
  switch (t.last_status) {
    case 'healthy': return 'ok';
    case 'degraded': return 'warn';
    case 'down':
    case 'error': return 'down';
    default: return 'unk';
  }
}

export const words: Record<State, string> = { ok: 'healthy', warn: 'degraded', down: 'down', unk: 'no data', paused: 'paused' };
const fill: Record<State, string> = { ok: 'fill-ok', warn: 'fill-warn', down: 'fill-down', unk: 'fill-none', paused: 'fill-paused' };
const soft: Record<State, string> = {
  ok: 'bg-ok-soft text-ok-text', warn: 'bg-warn-soft text-warn-text', down: 'bg-down-soft text-down-text',
  unk: 'bg-unk-soft text-unk-text', paused: 'bg-paused-soft text-paused-text',
};

export function Shape({ state, size = 14 }: { state: State; size?: number }) {
  const mark = 'stroke-surface fill-none';
  return (
    <svg width={size} height={size} viewBox="0 0 14 14" class={`shrink-0 ${fill[state]}`} role="img" aria-label={words[state]}>
      {state === 'ok' && <><circle cx="7" cy="7" r="7" /><path d="M4 7.2l2.1 2.1L10 5.2" class={mark} stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" /></>}
      {state === 'warn' && <><path d="M7 .6l6.6 12a.8.8 0 0 1-.7 1.2H1.1a.8.8 0 0 1-.7-1.2z" /><path d="M7 5v3.6M7 11v.2" class={mark} stroke-width="1.6" stroke-linecap="round" /></>}
      {state === 'down' && <><rect width="14" height="14" rx="3.5" /><path d="M4.6 4.6l4.8 4.8M9.4 4.6L4.6 9.4" class={mark} stroke-width="1.6" stroke-linecap="round" /></>}
      {state === 'unk' && <circle cx="7" cy="7" r="6" class="stroke-unk" stroke-width="1.6" stroke-dasharray="2.6 2.1" />}
      {state === 'paused' && <><rect x="2.5" y="1.5" width="3" height="11" rx="1.2" /><rect x="8.5" y="1.5" width="3" height="11" rx="1.2" /></>}
    </svg>
  );
}

export function Pill({ state, word }: { state: State; word?: string }) {
  return <span class={`pill ${soft[state]}`}><Shape state={state} />{word ?? words[state]}</span>;
}

// Bars are low while all is well and rise with trouble; now is right.
export function Strip({ points, name }: { points: HistoryPoint[]; name: string }) {
  const slots = [...Array<null>(Math.max(0, 30 - points.length)).fill(null), ...points.slice(-30)];
  const good = points.filter((p) => p.success).length;
  return (
    <div class="strip" role="img" aria-label={`${name}: ${good} of the last ${points.length} checks answered`}>
      {slots.map((p, i) => {
        const look = !p ? 'h-[3px] bg-unk' : p.success ? 'h-[50%] bg-ok' : 'h-full bg-down';
        return <i key={i} class={look} title={p ? `${formatTime(p.timestamp)}  ${p.success ? formatSeconds(p.duration) : (p.error ?? 'failed')}` : 'no data'} />;
      })}
    </div>
  );
}
