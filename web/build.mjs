// build.mjs <build|prebuilt|none> <web dir> <work dir> <out.c> <depfile> -- makes the page (unless it is prebuilt
// in web/dist), compresses every file and writes the C table that embeds them. Output depends on the
// content alone: no dates, names sorted.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { join, relative, resolve, extname } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const [mode, webArg, workArg, outC, depfile] = process.argv.slice(2);
const web = resolve(webArg);
const work = resolve(workArg);
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.txt': 'text/plain; charset=utf-8',
};

function walk(dir, withDirs = false) {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((e) => (e.isDirectory() ? [...(withDirs ? [join(dir, e.name)] : []), ...walk(join(dir, e.name), withDirs)] : [join(dir, e.name)]));
}

function buildPage() {
  const dist = join(work, 'dist');
  rmSync(dist, { recursive: true, force: true });
  const bin = (name) => join(web, 'node_modules', '.bin', name);
  execFileSync(bin('tsc'), ['--noEmit', '-p', web], { stdio: 'inherit', cwd: web });
  execFileSync(bin('vite'), ['build', '--outDir', dist, '--emptyOutDir', '--logLevel', 'warn'], { stdio: 'inherit', cwd: web });
  return dist;
}

// Names become C identifiers by their place in the list.
function embed(dist) {
  const files = dist ? walk(dist) : [];
  const packed = join(work, 'packed');
  rmSync(packed, { recursive: true, force: true });
  mkdirSync(packed, { recursive: true });
  const blobs = [];
  const rows = [];
  const put = (name, bytes) => {
    const path = join(packed, name);
    writeFileSync(path, bytes);
    blobs.push({ name, path });
  };
  files.forEach((path, i) => {
    const raw = readFileSync(path);
    const url = '/' + relative(dist, path);
    const type = types[extname(path)];
    if (!type) throw new Error(`no content type for ${url}`);
    const br = brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length } });
    const gz = gzipSync(raw, { level: 9 });
    const small = url === '/index.html' || br.length >= raw.length; // index.html is finished at start
    put(`a${i}_raw`, raw);
    put(`a${i}_gz`, small ? Buffer.alloc(0) : gz);
    put(`a${i}_br`, small ? Buffer.alloc(0) : br);
    const etag = createHash('sha256').update(raw).digest('hex').slice(0, 16);
    const immutable = /^\/assets\/.*-[A-Za-z0-9_-]{8}\.[a-z0-9]+$/.test(url);
    rows.push(`    {"${url}", "${type}", "\\"${etag}\\"", ${immutable}, A(a${i}_raw), A(a${i}_gz), A(a${i}_br)},`);
  });
  const asm = blobs
    .map((b) => `INCBIN(${b.name}, ${JSON.stringify(b.path)});`)
    .join('\n');
  writeFileSync(
    outC,
    `/* made by web/build.mjs */
#include "api/assets.h"

#define INCBIN(name, path)                                                                   \\
    __asm__(".section .rodata\\n.balign 16\\n" #name ":\\n.incbin \\"" path "\\"\\n" #name "_end:\\n.byte 0\\n.previous\\n"); \\
    extern const char name[], name##_end[]
#define A(name) name, name##_end

${asm}

const struct asset assets_table[] = {
${rows.join('\n')}
    {0},
};
const size_t assets_count = ${rows.length};
`,
  );
}

mkdirSync(work, { recursive: true });
const dist = mode === 'build' ? buildPage() : mode === 'prebuilt' ? join(web, 'dist') : null;
embed(dist);
const inputs = ['package.json', 'package-lock.json', 'vite.config.ts', 'tsconfig.json', 'index.html', 'build.mjs'].map((f) => join(web, f));
const deps = mode === 'none' ? [join(web, 'build.mjs')] : [...inputs, ...walk(join(web, mode === 'build' ? 'src' : 'dist'), true), ...walk(join(web, 'public'), true)];
writeFileSync(depfile, `${outC}: ${deps.filter((f) => existsSync(f)).map((f) => f.replace(/ /g, '\\ ')).join(' ')}\n`);
