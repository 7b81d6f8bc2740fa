// Puts the app into build/: what is in public/ as it is, and src/app.js with all it imports as one file.
import { cp, rm } from 'node:fs/promises'
import { build, context } from 'esbuild'

const options = {
  entryPoints: ['src/app.js'],
  outfile: 'build/app.js',
  bundle: true,
  minify: true,
  format: 'iife',
  platform: 'browser',
  inject: ['src/process.js'],
  define: { global: 'globalThis' },
  logLevel: 'info'
}

await rm('build', { recursive: true, force: true })
await cp('public', 'build', { recursive: true })
if (process.argv.includes('--watch')) {
  const watched = await context(options)
  await watched.watch()
} else {
  await build(options)
}
