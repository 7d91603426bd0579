// format.ts -- numbers and times for people, by Intl, in the browser's language and zone.
const seconds = new Intl.NumberFormat(undefined, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const percent = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const dateTime = new Intl.DateTimeFormat(undefined, { month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

export const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
export const formatSeconds = (s: number) => `${seconds.format(s)} s`;
export const formatPercent = (p: number) => `${percent.format(p)}%`;

export function formatTime(ts: number): string {
  const t = new Date(ts * 1000);
  return t.toDateString() === new Date().toDateString() ? time.format(t) : dateTime.format(t);
}

export function formatAge(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}
