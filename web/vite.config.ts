import tailwindcss from '@tailwindcss/vite';
import { defineConfig } from 'vite';

// Relative addresses everywhere, so that the page works below any base path; names carry a hash of
// the content, so that the daemon may call them immutable.
export default defineConfig({
  base: './',
  plugins: [tailwindcss()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        entryFileNames: 'assets/[name]-[hash].js',
        chunkFileNames: 'assets/[name]-[hash].js',
        assetFileNames: 'assets/[name]-[hash][extname]',
      },
    },
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8081', '/openapi.json': 'http://127.0.0.1:8081' } },
});
