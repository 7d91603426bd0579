// The release binary has the hardening the build asks for.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const binary = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'build', 'gatehouse');
const readelf = (...args) => execFileSync('readelf', ['-W', ...args, binary], { encoding: 'utf8', maxBuffer: 64 << 20 });

test('the binary is position independent', () => assert.match(readelf('-h'), /Type:\s+DYN/));
test('relocations are read-only and bound at start', () => {
  assert.match(readelf('-l'), /GNU_RELRO/);
  assert.match(readelf('-d'), /BIND_NOW|FLAGS_1.*NOW/);
});
test('the stack is not executable', () => {
  const stack = readelf('-l').split('\n').find((l) => l.includes('GNU_STACK'));
  assert.ok(stack && !/RWE/.test(stack), stack);
});
test('no segment is writable and executable', () => {
  for (const line of readelf('-l').split('\n').filter((l) => /^\s+LOAD/.test(l))) assert.doesNotMatch(line, /RWE/);
});
test('stack protector and fortified calls are in', () => {
  const symbols = readelf('--dyn-syms');
  assert.match(symbols, /__stack_chk_fail/);
  assert.match(symbols, /__(snprintf|memcpy|vsnprintf|read|memmove)_chk/);
});
test('banned calls are not linked', () => {
  const symbols = readelf('--dyn-syms');
  for (const name of ['strcpy', 'strcat', 'sprintf', 'gets', 'strtok', 'system', 'mktemp', 'tmpnam'])
    assert.doesNotMatch(symbols, new RegExp(` UND ${name}@`), name);
});
