// dialog.tsx -- the one dialog: native modal, Esc and the backdrop close it, focus comes back.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const d = ref.current;
    d?.showModal();
    return () => d?.close();
  }, []);
  return (
    <dialog ref={ref} aria-label={title} onClose={onClose} onClick={(e) => e.target === ref.current && onClose()}
      class="m-auto w-[min(560px,calc(100vw-24px))] rounded-2xl bg-surface p-0 text-text shadow-e3">
      <div class="p-6">
        <h2 class="mb-4 text-[18px]/[26px] font-semibold">{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

export function Field({ label, name, hint, error, ...input }: { label: string; name: string; hint?: string; error?: string | undefined } & Record<string, unknown>) {
  return (
    <div class="mb-4">
      <label class="label" for={name}>{label}</label>
      <input class={`input ${error ? 'border-2 border-down' : ''}`} id={name} name={name} aria-invalid={!!error} aria-describedby={`${name}-note`} {...input} />
      <p id={`${name}-note`} class={error ? 'mt-1 text-[12px]/[16px] text-down-text' : 'hint'}>{error ?? hint ?? ''}</p>
    </div>
  );
}
