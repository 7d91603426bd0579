// route.ts -- the address is the state: pages are paths below <base>, back and forward walk them.
// Old addresses of API Monitor open the matching page.
import { signal } from '@preact/signals';

const base = new URL(document.baseURI).pathname;

function read(): string {
  const path = location.pathname.startsWith(base) ? '/' + location.pathname.slice(base.length) : '/';
  const id = new URLSearchParams(location.search).get('target_id');
  if ((path === '/viewer.html' || path === '/analysis.html') && id && /^\d+$/.test(id)) return `/channels/${id}`;
  return path;
}

export const path = signal(read());
addEventListener('popstate', () => (path.value = read()));

export function go(to: string): void {
  history.pushState(null, '', base.replace(/\/$/, '') + to);
  path.value = read();
  scrollTo(0, 0);
}

// For <a href>: a real address, walked without a reload on a plain click.
export function link(to: string): { href: string; onClick: (e: MouseEvent) => void } {
  return {
    href: base.replace(/\/$/, '') + to,
    onClick: (e) => {
      if (e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
      e.preventDefault();
      go(to);
    },
  };
}
