import { useState } from 'preact/hooks';
import { api, ApiError } from '../api';
import { Field } from '../parts/dialog';
import { loadSession } from '../store';

export function SignIn() {
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await api.login(String(new FormData(e.target as HTMLFormElement).get('password') ?? ''));
      await loadSession();
    } catch (x) {
      const f = x as ApiError;
      setError(f.status === 401 ? 'Wrong password.' : f.status === 429 ? `Too many failed attempts. Try again in ${Math.ceil((f.retryAfter ?? 60) / 60)} min.` : f.message);
    }
    setBusy(false);
  };
  return (
    <main class="grid min-h-dvh place-items-center p-4">
      <form class="card w-full max-w-[400px] rounded-2xl p-8" onSubmit={(e) => void submit(e)}>
        <h1 class="mb-1 text-[20px]/[28px] font-semibold">Gatehouse</h1>
        <p class="mb-6 text-text2">Sign in with the admin password or token. The first start printed both.</p>
        <Field label="Password" name="password" type="password" autocomplete="current-password" required autofocus error={error} />
        <button class="btn btn-primary w-full" disabled={busy}>{busy ? 'Checking…' : 'Sign in'}</button>
      </form>
    </main>
  );
}
