import { useEffect, useState } from 'preact/hooks';
import { api, type ModelStatus, type Run, type Target } from '../api';
import { formatSeconds, formatTime } from '../format';
import { Dialog } from '../parts/dialog';
import { Pill, Shape, Strip, stateOf } from '../parts/state';
import { go, link } from '../route';
import { loadTargets, say, session, targets } from '../store';

function Model({ m }: { m: ModelStatus }) {
  return (
    <li class="grid grid-cols-[14px_minmax(0,1fr)_auto] items-center gap-x-3 gap-y-1 border-t border-line px-5 py-2.5 first:border-0 md:grid-cols-[14px_minmax(0,1fr)_186px_90px]">
      <Shape state={m.success ? 'ok' : 'down'} />
      <span class="min-w-0">
        <bdi class="block truncate font-medium" title={m.model}>{m.model}</bdi>
        {m.error && <span class="block text-[12px]/[16px] break-words text-down-text">{m.error}</span>}
      </span>
      <span class="hidden md:block"><Strip points={m.history} name={m.model} /></span>
      <span class="text-right">{m.success ? formatSeconds(m.duration) : 'failed'}</span>
    </li>
  );
}

function Runs({ id, stamp }: { id: number; stamp: string }) {
  const [runs, setRuns] = useState<Run[]>([]);
  useEffect(() => {
    let gone = false;
    api.runs(id).then((r) => !gone && setRuns(r.items), () => undefined);
    return () => { gone = true; };
  }, [id, stamp]);
  if (!runs.length) return null;
  return (
    <section class="card mt-4 overflow-x-auto">
      <h2 class="px-5 py-3 text-[15px]/[22px] font-semibold">Runs</h2>
      <table class="w-full text-[13px]/[18px]">
        <thead class="text-left text-[12px]/[16px] text-text3"><tr><th class="px-5 py-2 font-normal">Started</th><th class="py-2 font-normal">Result</th><th class="py-2 text-right font-normal">Answered</th><th class="px-5 py-2 text-right font-normal">Took</th></tr></thead>
        <tbody>
          {runs.map((r) => (
            <tr key={r.id} class="border-t border-line">
              <td class="px-5 py-2">{formatTime(r.started_at)}</td>
              <td class="py-2">{r.status === 'running' ? 'running' : r.error ?? (r.fail ? `${r.fail} failed` : 'all answered')}</td>
              <td class="py-2 text-right">{r.success}/{r.total}</td>
              <td class="px-5 py-2 text-right">{r.finished_at ? formatSeconds(r.finished_at - r.started_at) : '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Actions({ t }: { t: Target }) {
  const [asking, setAsking] = useState(false);
  const act = async (fn: () => Promise<unknown>, done: string) => {
    try {
      await fn();
      say(done);
      await loadTargets();
    } catch (e) {
      say((e as Error).message);
    }
  };
  const admin = session.value?.role === 'admin';
  return (
    <div class="flex flex-wrap gap-2">
      {(admin || t.can_operate) && <button class="btn btn-primary" disabled={t.running} onClick={() => void act(() => api.run(t.id), `${t.name} is being checked`)}>{t.running ? 'Checking…' : 'Check now'}</button>}
      {admin && <button class="btn" onClick={() => void act(() => api.patch(t.id, { enabled: !t.enabled }), t.enabled ? `${t.name} is paused` : `${t.name} is on again`)}>{t.enabled ? 'Pause' : 'Resume'}</button>}
      {admin && <button class="btn btn-danger" onClick={() => setAsking(true)}>Delete</button>}
      {asking && (
        <Dialog title={`Delete ${t.name}?`} onClose={() => setAsking(false)}>
          <p class="mb-5 text-text2">Its runs and results go with it. Proxy keys that name it stay.</p>
          <div class="flex justify-end gap-2">
            <button class="btn" onClick={() => setAsking(false)}>Cancel</button>
            <button class="btn btn-danger" onClick={() => void act(() => api.remove(t.id), `${t.name} is deleted`).then(() => go('/'))}>Delete</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

export function Channel({ id }: { id: number }) {
  const t = targets.value?.find((x) => x.id === id);
  if (!targets.value) return null;
  if (!t) return <div class="card p-10 text-center"><p class="font-medium">This channel does not exist (any more).</p><p class="mt-3"><a class="text-accent underline" {...link('/')}>All channels</a></p></div>;
  const models = [...t.latest_models].sort((a, b) => Number(a.success) - Number(b.success) || (a.model < b.model ? -1 : 1));
  return (
    <>
      <p class="mb-2"><a class="text-[13px]/[18px] text-accent" {...link('/')}>← Channels</a></p>
      <div class="mb-5 flex flex-wrap items-start justify-between gap-3">
        <div class="min-w-0">
          <h1 class="flex flex-wrap items-center gap-3 text-[20px]/[28px] font-semibold"><bdi class="break-all">{t.name}</bdi> <Pill state={stateOf(t)} /></h1>
          <p class="mt-1 font-mono text-[12px]/[16px] break-all text-text3">{t.base_url}</p>
        </div>
        <Actions t={t} />
      </div>
      {t.warnings?.map((w) => <p key={w} class="mb-3 rounded-lg bg-warn-soft px-4 py-2 text-[13px]/[18px] text-warn-text">{w}</p>)}
      {t.last_error && <p role="alert" class="mb-3 rounded-lg bg-down-soft px-4 py-2 text-[13px]/[18px] break-words text-down-text">{t.last_error}</p>}
      <section class="card overflow-hidden" aria-live="polite">
        <h2 class="px-5 py-3 text-[15px]/[22px] font-semibold">Models <span class="font-normal text-text3">{t.running ? 'checking…' : t.last_total === null ? '' : `${t.last_success} of ${t.last_total} answered`}</span></h2>
        {models.length === 0 && <p class="px-5 pb-5 text-text2">{t.running ? 'Waiting for the first answer.' : 'No model has been checked yet.'}</p>}
        <ul>{models.map((m) => <Model key={m.model} m={m} />)}</ul>
      </section>
      <Runs id={id} stamp={`${t.last_run_at ?? 0}${t.running ? 'r' : ''}`} />
    </>
  );
}
