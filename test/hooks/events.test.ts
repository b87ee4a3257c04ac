import { readFileSync } from 'node:fs'
import t from 'tap'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

t.test('the README tells of every event, and of no other', async (t) => {
  const [, map = ''] = /export interface HookEvents \{\n(.*?)\n\}/s.exec(read('src/hooks/events.ts')) ?? []
  const events = [...map.matchAll(/^ {2}(on\w+): /gm)].map(([, name]) => name)
  const [, section = ''] = /### Hooks\n(.*?)\n## /s.exec(read('README.md')) ?? []
  const rows = section.split('\n').filter((line) => line.startsWith('| `'))
  const told = rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`(on\w+)`/g)].map(([, name]) => name))
  t.ok(events.length > 10)
  t.strictSame(told.sort(), events.sort())
})
