// docs.tsx -- /docs: the OpenAPI document, readable. No foreign origin, no library.
import { useEffect, useState } from 'preact/hooks';
import { call } from '../api';

interface Schema { type?: string | string[]; properties?: Record<string, Schema>; items?: Schema; $ref?: string; enum?: string[]; description?: string; minimum?: number; maximum?: number; minLength?: number; maxLength?: number; default?: unknown; required?: string[] }
interface Operation { tags: string[]; summary: string; parameters: { name: string; in: string; description: string; schema: Schema }[]; requestBody?: { content: Record<string, { schema?: Schema }> }; responses: Record<string, { description: string; content?: Record<string, { schema?: Schema }> }>; 'x-role': string }
interface Document { info: { version: string }; paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, Schema> } }

function typeText(s: Schema | undefined): string {
  if (!s) return '';
  if (s.$ref) return s.$ref.split('/').pop() ?? '';
  if (s.enum) return s.enum.map((e) => JSON.stringify(e)).join(' | ');
  const type = Array.isArray(s.type) ? s.type.join(' | ') : (s.type ?? 'any');
  return type === 'array' ? `${typeText(s.items) || 'any'}[]` : type;
}

function bounds(s: Schema): string {
  const parts: string[] = [];
  if (s.minimum !== undefined || s.maximum !== undefined) parts.push(`${s.minimum ?? ''}…${s.maximum ?? ''}`);
  if (s.maxLength !== undefined) parts.push(`${s.minLength ?? 0}…${s.maxLength} characters`);
  if (s.default !== undefined) parts.push(`default ${JSON.stringify(s.default)}`);
  return parts.join(', ');
}

function Fields({ schema, doc }: { schema: Schema; doc: Document }) {
  const s = schema.$ref ? doc.components.schemas[schema.$ref.split('/').pop() ?? ''] : schema;
  if (!s?.properties) return null;
  return (
    <table class="mt-1 w-full text-[13px]/[18px]">
      <tbody>
        {Object.entries(s.properties).map(([name, p]) => (
          <tr key={name} class="border-t border-line align-top">
            <td class="py-1 pr-3 font-mono">{name}{s.required?.includes(name) ? ' *' : ''}</td>
            <td class="py-1 pr-3 font-mono text-text3">{typeText(p)}</td>
            <td class="py-1 text-text2">{[p.description, bounds(p)].filter(Boolean).join(' — ')}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function OperationView({ method, path, op, doc }: { method: string; path: string; op: Operation; doc: Document }) {
  const body = op.requestBody && Object.values(op.requestBody.content)[0]?.schema;
  const answer = op.responses['200']?.content && Object.entries(op.responses['200'].content)[0];
  return (
    <details class="border-t border-line px-5 py-3">
      <summary class="cursor-pointer"><code class="font-mono font-semibold">{method.toUpperCase()} {path}</code> <span class="ml-2 text-text2">{op.summary}</span></summary>
      <p class="mt-2 text-[12px]/[16px] text-text3">For: {op['x-role']}</p>
      {op.parameters.length > 0 && <Fields doc={doc} schema={{ properties: Object.fromEntries(op.parameters.map((p) => [p.name, { ...p.schema, description: `${p.in}: ${p.description}` }])) }} />}
      {body && <><h4 class="mt-3 font-medium">Body</h4><Fields schema={body} doc={doc} /></>}
      {answer && <><h4 class="mt-3 font-medium">200 <span class="font-normal text-text3">{answer[0]}</span></h4>{answer[1].schema && <Fields schema={answer[1].schema} doc={doc} />}</>}
      <ul class="mt-2 text-[13px]/[18px] text-text2">{Object.entries(op.responses).filter(([s]) => s !== '200').map(([s, r]) => <li key={s}><b class="font-medium">{s}</b> {r.description}</li>)}</ul>
    </details>
  );
}

export function Docs() {
  const [doc, setDoc] = useState<Document>();
  const [error, setError] = useState<string>();
  useEffect(() => void call<Document>('GET', 'openapi.json').then(setDoc, (e: Error) => setError(e.message)), []);
  if (error) return <p role="alert" class="card bg-down-soft p-5 text-down-text">{error}</p>;
  if (!doc) return null;
  const tags = [...new Set(Object.values(doc.paths).flatMap((ops) => Object.values(ops).flatMap((o) => o.tags)))];
  return (
    <>
      <h1 class="mb-1 text-[20px]/[28px] font-semibold">API</h1>
      <p class="mb-5 text-text2">Version {doc.info.version}. Send <code class="font-mono">Authorization: Bearer &lt;admin token&gt;</code>. The document itself: <a class="text-accent underline" href="openapi.json">openapi.json</a></p>
      {tags.map((tag) => (
        <section key={tag} class="card mb-4 overflow-hidden">
          <h2 class="px-5 py-3 text-[15px]/[22px] font-semibold">{tag}</h2>
          {Object.entries(doc.paths).flatMap(([p, ops]) => Object.entries(ops).filter(([, o]) => o.tags.includes(tag)).map(([m, o]) => <OperationView key={m + p} method={m} path={p} op={o} doc={doc} />))}
        </section>
      ))}
    </>
  );
}
