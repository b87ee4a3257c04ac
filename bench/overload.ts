/**
 * `npm run bench:overload`: what is left of the goodput, and how much memory it takes, when five times as many streams arrive as one process
 * can serve. First clients that wait for their answers find the rate that it sustains; then they arrive at five times that rate, whether
 * or not anybody is answered. Answers count when they are whole. The gateway has a core of its own, where there are two.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { availableParallelism } from 'node:os'
import { extname, join } from 'node:path'
import { ask } from './load.ts'
import type { Reading } from './measured.ts'

const seconds = Number(process.env.BENCH_SECONDS ?? 10)
const key = 'sk-bench-0123456789'
/** Streams at a time at which the gateway's core is full. */
const concurrency = 200
const limits = { maxInFlight: concurrency, maxQueue: concurrency / 2, queueTimeout: '2s' }

const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-c', '0', 'true']).status === 0
const pin = (core: number): string[] => (canPin ? ['taskset', '-c', String(core)] : [])

async function start(file: string, core: number, env: Record<string, string>): Promise<[ChildProcess, number]> {
  const script = join(import.meta.dirname, `${file}${extname(import.meta.filename)}`)
  const [command, ...args] = [...pin(core), process.execPath, script]
  const child = spawn(command as string, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', ...env },
  })
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  return [child, port]
}

async function read(gateway: ChildProcess): Promise<Reading> {
  gateway.send('cpu')
  const [reading] = (await once(gateway, 'message')) as [Reading]
  return reading
}

interface Outcome {
  whole: number
  refused: number
  failed: number
  mostRSS: number
}

/** Counts what ends while it lasts, and watches the gateway's memory. */
async function measured(
  gateway: ChildProcess,
  send: (count: (status: number) => void, until: number) => Promise<void>,
): Promise<Outcome> {
  const outcome: Outcome = { whole: 0, refused: 0, failed: 0, mostRSS: 0 }
  const until = performance.now() + seconds * 1000
  const watch = async (): Promise<void> => {
    while (performance.now() < until) {
      outcome.mostRSS = Math.max(outcome.mostRSS, (await read(gateway)).rss)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  const count = (status: number): void => {
    if (performance.now() > until) return
    if (status === 200) outcome.whole += 1
    else if (status === 503) outcome.refused += 1
    else outcome.failed += 1
  }
  await Promise.all([watch(), send(count, until)])
  return outcome
}

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

if (canPin) spawnSync('taskset', ['-cp', '1', String(process.pid)])
const [upstream, upstreamPort] = await start('upstream', 1, {})
const [gateway, port] = await start('signalbox', 0, {
  BENCH_UPSTREAM: `http://127.0.0.1:${upstreamPort}`,
  BENCH_KEY: key,
  BENCH_METRICS: 'on',
  BENCH_SERVER: JSON.stringify({ overload: limits }),
})
const agent = new Agent({ keepAlive: true })
const stream = (): Promise<number> => ask({ port, key }, agent, true).catch(() => 0)

/** Clients that wait for their answers. */
const closedLoop = async (count: (status: number) => void, until: number): Promise<void> => {
  const client = async (): Promise<void> => {
    while (performance.now() < until) count(await stream())
  }
  await Promise.all(Array.from({ length: concurrency }, client))
}

/** So many a second, whether or not anybody is answered. */
const arriving =
  (rate: number) =>
  async (count: (status: number) => void, until: number): Promise<void> => {
    const open = new Set<Promise<void>>()
    const startedAt = performance.now()
    for (let sent = 0; performance.now() < until; ) {
      for (const due = ((performance.now() - startedAt) / 1000) * rate; sent < due; sent++) {
        const one: Promise<void> = stream().then((status) => {
          count(status)
          open.delete(one)
        })
        open.add(one)
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await Promise.all(open)
  }

await measured(gateway, closedLoop)
const idle = await read(gateway)
const peak = await measured(gateway, closedLoop)
const rate = peak.whole / seconds
const over = await measured(gateway, arriving(5 * rate))
const after = await measured(gateway, closedLoop)
const perSecond = (count: number): string => (count / seconds).toFixed(0)
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0)

print(`Streams of 200 chunks; ${seconds} s each; ${JSON.stringify(limits)}.`)
print('')
print('| load | arrive/s | whole/s | of the peak | refused/s | failed | most RSS MB |')
print('|---|---|---|---|---|---|---|')
const row = (name: string, arrive: number, { whole, refused, failed, mostRSS }: Outcome): void =>
  print(
    `| ${[name, arrive.toFixed(0), perSecond(whole), `${((100 * whole) / peak.whole).toFixed(0)} %`, perSecond(refused), failed, megabytes(mostRSS)].join(' | ')} |`,
  )
row('sustained', rate, peak)
row('5 times', 5 * rate, over)
row('sustained again', after.whole / seconds, after)
print('')
print(`Before: ${megabytes(idle.rss)} MB.`)
const isKept = over.whole > 0.8 * peak.whole && over.failed === 0
print(
  isKept
    ? 'Goodput under overload stays above 80 % of the peak.'
    : 'GOODPUT UNDER OVERLOAD FALLS BELOW 80 % OF THE PEAK.',
)
process.exitCode = isKept ? 0 : 1
agent.destroy()
gateway.kill()
upstream.kill()
