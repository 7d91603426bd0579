// The rules of the tree that a compiler does not know: layers, unique names, sizes, banned calls.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const src = join(root, 'src');

function walk(dir, keep) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) => {
    const path = join(dir, e.name);
    if (e.isDirectory()) return e.name === 'node_modules' || e.name === 'dist' ? [] : walk(path, keep);
    return keep(e.name) ? [path] : [];
  });
}

const cFiles = walk(src, (n) => /\.[ch]$/.test(n));
const lines = (path) => readFileSync(path, 'utf8').split('\n');

// A folder may include itself and what stands to its right; folders of the four on top of health never
// include each other.
const mayInclude = {
  base: ['base'],
  net: ['net', 'base'],
  store: ['store', 'net', 'base'],
  llm: ['llm', 'store', 'net', 'base'],
  catalog: ['catalog', 'llm', 'store', 'net', 'base'],
  ledger: ['ledger', 'catalog', 'llm', 'store', 'net', 'base'],
  health: ['health', 'ledger', 'catalog', 'llm', 'store', 'net', 'base'],
};
for (const top of ['probe', 'gateway', 'alert', 'newapi']) mayInclude[top] = [top, ...mayInclude.health];
mayInclude.api = ['api', 'probe', 'gateway', 'alert', 'newapi', ...mayInclude.health];

test('no #include goes upward', () => {
  const faults = [];
  for (const path of cFiles) {
    const layer = relative(src, path).split('/')[0];
    if (layer.endsWith('.c') || layer.endsWith('.h')) continue; // main, app: on top
    assert.ok(mayInclude[layer], `unknown layer ${layer}`);
    lines(path).forEach((line, i) => {
      const m = /^\s*#\s*include\s+"([^"/]+)\/[^"]*"/.exec(line) ?? /^\s*#\s*include\s+"([^"]+)"/.exec(line);
      if (m && !m[1].endsWith('.inc') && !mayInclude[layer].includes(m[1])) faults.push(`${relative(root, path)}:${i + 1}: ${line.trim()}`);
    });
  }
  assert.deepEqual(faults, []);
});

test('basenames of C files are unique', () => {
  const seen = new Map();
  const faults = [];
  for (const path of cFiles.filter((p) => p.endsWith('.c'))) {
    const name = basename(path);
    if (seen.has(name)) faults.push(`${relative(root, path)} and ${seen.get(name)}`);
    seen.set(name, relative(root, path));
  }
  assert.deepEqual(faults, []);
});

test('files stay under 650 lines and functions under 100', () => {
  const faults = [];
  for (const path of cFiles) {
    const all = lines(path);
    if (all.length > 650) faults.push(`${relative(root, path)}: ${all.length} lines`);
    if (!path.endsWith('.c')) continue;
    let start = -1;
    all.forEach((line, i) => {
      if (line === '{') start = i;
      if (line === '}' && start >= 0) {
        if (i - start > 100) faults.push(`${relative(root, path)}:${start + 1}: function of ${i - start} lines`);
        start = -1;
      }
    });
  }
  assert.deepEqual(faults, []);
});

test('no tab, no trailing blank, no unowned promise in the sources', () => {
  const faults = [];
  const own = [...cFiles, ...walk(join(root, 'tools'), (n) => /\.[ch]$/.test(n)), ...walk(join(root, 'tests', 'unit'), (n) => /\.[ch]$/.test(n))];
  for (const path of own) {
    lines(path).forEach((line, i) => {
      if (/\t/.test(line)) faults.push(`${relative(root, path)}:${i + 1}: tab`);
      if (/[ \t]$/.test(line)) faults.push(`${relative(root, path)}:${i + 1}: trailing blank`);
      if (/\b(TODO|FIXME|XXX|HACK)\b/.test(line)) faults.push(`${relative(root, path)}:${i + 1}: ${line.trim()}`);
    });
  }
  assert.deepEqual(faults, []);
});

test('the banned calls are banned by the header that everything includes', () => {
  const header = readFileSync(join(src, 'base', 'base.h'), 'utf8');
  for (const name of ['strcpy', 'strcat', 'strncpy', 'sprintf', 'strtok', 'atoi', 'strtol', 'gmtime', 'localtime', 'alloca', 'system'])
    assert.match(header, new RegExp(`#define ${name}\\(`));
  const escapes = cFiles.filter((p) => readFileSync(p, 'utf8').includes('GATEHOUSE_ALLOW_BANNED') && basename(p) !== 'base.h');
  assert.deepEqual(escapes, []);
});

test('every header begins with what it is for and guards itself', () => {
  const faults = cFiles
    .filter((p) => p.endsWith('.h'))
    .filter((p) => {
      const text = readFileSync(p, 'utf8');
      return !text.startsWith(`/* ${basename(p)} -- `) || !text.includes('#pragma once');
    })
    .map((p) => relative(root, p));
  assert.deepEqual(faults, []);
});
