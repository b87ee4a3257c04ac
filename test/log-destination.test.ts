import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { logDestination } from '../src/log-destination.ts'
import { runModule } from './process.ts'

const module = (text: string): string => `
  import pino from 'pino'
  import { logDestination } from '${join(import.meta.dirname, '../src/log-destination.ts')}'
  const log = pino({}, logDestination())
  ${text}
`

t.test('the lines of a turn are written at its end, in order', async (t) => {
  const file = join(t.testdir(), 'log')
  const destination = logDestination(file)
  const written = (): string => readFileSync(file, 'utf8')
  destination.write('one\n')
  destination.write('two\n')
  t.equal(written(), '')
  await turn()
  await turn()
  t.equal(written(), 'one\ntwo\n')
  destination.write('three\n')
  destination.flushSync()
  t.equal(written(), 'one\ntwo\nthree\n')
  await turn()
  await turn()
  t.equal(written(), 'one\ntwo\nthree\n', 'once')
})

t.test('no more is held back than a pipe holds', async (t) => {
  const file = join(t.testdir(), 'log')
  const destination = logDestination(file)
  const line = `${'x'.repeat(999)}\n`
  for (let count = 0; count < 70; count++) destination.write(line)
  t.ok(readFileSync(file, 'utf8').length >= 64_000)
  await turn()
  await turn()
  t.equal(readFileSync(file, 'utf8'), line.repeat(70))
})

t.test('a process that ends has written all, whatever ends it', async (t) => {
  for (const [how, text] of Object.entries({
    'by itself': "log.info('last')",
    'by process.exit': "log.info('last'); process.exit(0)",
    'by an error': "log.info('last'); throw new Error('a bug')",
    'by a rejection': "log.info('last'); void Promise.reject(new Error('a bug'))",
    'in the midst of a turn': "setTimeout(() => { log.info('last'); process.exit(3) })",
  })) {
    const file = join(t.testdir({ 'm.mjs': module(text) }), 'm.mjs')
    const { stdout } = await runModule(t, file).exited
    t.match(stdout, /"msg":"last"\}\n$/, how)
  }
})

t.test('a fatal line is written at once', async (t) => {
  const file = join(
    t.testdir({ 'm.mjs': module("log.info('before'); log.fatal('last'); process.kill(process.pid, 'SIGKILL')") }),
    'm.mjs',
  )
  const { stdout, code } = await runModule(t, file).exited
  t.equal(code, null)
  t.match(stdout, /"msg":"before"\}\n.*"msg":"last"\}\n$/)
})

t.test('a reader that has gone holds up no end', async (t) => {
  const text = `setInterval(() => log.info('x'.repeat(1000)), 1)\nsetTimeout(() => process.exit(7), 500)`
  const file = join(t.testdir({ 'm.mjs': module(text) }), 'm.mjs')
  const child = spawn(process.execPath, ['--conditions=signalbox-source', file], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await once(child.stdout, 'data')
  child.stdout.destroy()
  const [code] = await once(child, 'exit')
  t.equal(code, 7)
})
