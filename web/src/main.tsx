// main.tsx -- the shell: who is asking, which page, is what we show still true.
import './style.css';
import { effect, useSignal } from '@preact/signals';
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { api } from './api';
import { formatAge, zone } from './format';
import { Channel } from './pages/channel';
import { Channels } from './pages/channels';
import { Docs } from './pages/docs';
import { SignIn } from './pages/signin';
import { link, path } from './route';
import { connect, connected, disconnect, failure, freshAt, loadSession, session, targets, toast } from './store';

const themeKey = 'gatehouse.theme';

function applyTheme(theme: string | null): void {
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset['theme'] = theme;
  else delete document.documentElement.dataset['theme'];
}
applyTheme(localStorage.getItem(themeKey));

function toggleTheme(): void {
  const dark = document.documentElement.dataset['theme'] === 'dark' || (!document.documentElement.dataset['theme'] && matchMedia('(prefers-color-scheme: dark)').matches);
  localStorage.setItem(themeKey, dark ? 'light' : 'dark');
  applyTheme(dark ? 'light' : 'dark');
}

function Freshness() {
  const now = useSignal(Date.now());
  useEffect(() => {
    const t = setInterval(() => (now.value = Date.now()), 1000);
    return () => clearInterval(t);
  }, []);
  const age = formatAge(now.value - freshAt.value);
  return (
    <span class="flex items-center gap-2 text-[13px]/[18px] text-text2" role="status">
      <span class={`size-2 rounded-full ${connected.value ? 'bg-ok' : 'bg-warn'}`} />
      {connected.value ? 'Live' : freshAt.value ? `Reconnecting, data ${age} old` : 'Connecting'}
    </span>
  );
}

function Header() {
  return (
    <header class="mb-6 flex flex-wrap items-center gap-x-5 gap-y-2">
      <a class="flex items-center gap-2 font-semibold" {...link('/')}><img src="./favicon.svg" width="28" height="28" alt="" />Gatehouse</a>
      <nav class="flex gap-4 text-text2" aria-label="Pages"><a class="hover:text-text" {...link('/')}>Channels</a><a class="hover:text-text" {...link('/docs')}>API</a></nav>
      <span class="ml-auto flex flex-wrap items-center gap-3">
        <Freshness />
        <span class="text-[12px]/[16px] text-text3">{zone}</span>
        <button class="btn btn-ghost btn-small" onClick={toggleTheme}>Theme</button>
        {session.value?.by === 'session' && <button class="btn btn-ghost btn-small" onClick={() => void api.logout().then(loadSession)}>Sign out</button>}
      </span>
    </header>
  );
}

function Page() {
  const channel = /^\/channels\/(\d+)/.exec(path.value);
  if (path.value.startsWith('/docs')) return <Docs />;
  if (channel) return <Channel id={Number(channel[1])} />;
  return <Channels />;
}

function App() {
  const isDocs = path.value.startsWith('/docs');
  if (!session.value && !failure.value) return null;
  if (session.value?.role === 'anonymous' && !isDocs) return <SignIn />;
  return (
    <div class="mx-auto max-w-[1200px] p-3 md:px-8 md:py-6">
      <Header />
      {failure.value && <p role="alert" class="card mb-4 bg-down-soft p-4 text-down-text">{failure.value} <button class="ml-2 underline" onClick={() => void loadSession()}>Retry</button></p>}
      <main><Page /></main>
      <div aria-live="polite" class="fixed bottom-4 left-4">{toast.value && <p class="flex min-h-11 items-center rounded-[10px] bg-[var(--inverse)] px-4 text-[var(--on-inverse)]">{toast.value}</p>}</div>
    </div>
  );
}

let role: string | undefined;
effect(() => {
  const next = session.value?.role;
  if (next === role) return;
  role = next;
  if (next === 'admin' || next === 'visitor') connect();
  else {
    disconnect();
    targets.value = null;
  }
});

void loadSession();
const root = document.getElementById('app');
if (root) render(<App />, root);
