import { useState } from 'preact/hooks';
import { api, ApiError } from '../api';
import { Dialog, Field } from '../parts/dialog';
import { go } from '../route';
import { loadTargets } from '../store';

// Creates a channel and checks it at once, so that the first result streams in.
export function AddChannel({ onClose }: { onClose: () => void }) {
  const [error, setError] = useState<{ field: string | undefined; text: string }>();
  const [busy, setBusy] = useState(false);
  const of = (field: string) => (error?.field === field ? error.text : undefined);
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    const form = new FormData(e.target as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? '').trim();
    setBusy(true);
    setError(undefined);
    try {
      const { item } = await api.create({ name: text('name'), base_url: text('base_url'), api_key: text('api_key'), interval_min: Number(text('interval_min')) || 30 });
      await api.run(item.id).catch(() => undefined); // the schedule checks it anyway
      await loadTargets();
      onClose();
      go(`/channels/${item.id}`);
    } catch (x) {
      const f = x as ApiError;
      setError({ field: f.field, text: f.message.includes('UNIQUE') ? 'A channel of this name exists already.' : f.message });
      setBusy(false);
    }
  };
  const known = ['name', 'base_url', 'api_key', 'interval_min'];
  return (
    <Dialog title="Add channel" onClose={onClose}>
      <form onSubmit={(e) => void submit(e)}>
        <Field label="Name" name="name" required maxlength={128} autofocus hint="How you call it; models are addressed as name/model." error={of('name')} />
        <Field label="Base URL" name="base_url" type="url" required placeholder="https://api.example.com/v1" hint="A trailing /v1 makes no difference." error={of('base_url')} />
        <Field label="API key" name="api_key" type="password" autocomplete="off" required hint="Encrypted at rest; shown as its last four characters." error={of('api_key')} />
        <Field label="Interval, minutes" name="interval_min" type="number" min={1} max={1440} value="30" error={of('interval_min')} />
        {error && !known.includes(error.field ?? '') && <p role="alert" class="mb-4 rounded-lg bg-down-soft p-3 text-down-text">{error.text}</p>}
        <div class="flex justify-end gap-2">
          <button type="button" class="btn" onClick={onClose}>Cancel</button>
          <button class="btn btn-primary" disabled={busy}>{busy ? 'Adding…' : 'Add and check'}</button>
        </div>
      </form>
    </Dialog>
  );
}
