/**
 * `npm run bench`: Signalbox, in each of its variants, against the ceiling. Only the two of a pair are alive at a time, and take
 * turns: more of them push one another out of the caches, and what waits longer is measured colder. The gateways have a core of
 * their own (where the machine has two), the load and the mock provider share the other. CPU is the gateway process's own, so a
 * busy load generator does not flatter anybody.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { extname, join } from 'node:path'
import { hold, run } from './load.ts'
import type { Reading } from './measured.ts'

const rounds = Number(process.env.BENCH_ROUNDS ?? 8)
/**
 * Processes that are the same differ by some per cent, each for as long as it lives: what is told is of the middle one of so many, for
 * each figure.
 */
const starts = Number(process.env.BENCH_STARTS ?? 3)
const requests = 4000
/** At a time. They are measured so many times a round, for a second: at their pace the processor is idle between, and noisy. */
const streams = 50
const streamTurns = 2
const chunksPerStream = 200
const heldStreams = 500
/** V8 optimizes the last of what one request runs after some 30,000 of them; a gateway in service is that warm in a minute. */
const warmUps = 8
const key = 'sk-bench-0123456789'
const columns = ['request', 'rate', 'chunk', 'firstByte'] as const

interface Gateway {
  name: string
  process: ChildProcess
  port: number
  memory: { startMs: number; idleMB: number; perStreamKB: number }
  /** CPU microseconds a request and a chunk, requests a second, milliseconds. */
  samples: Record<(typeof columns)[number], number[]>
}

const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-c', '0', 'true']).status === 0

async function start(file: string, core: number, env: Record<string, string> = {}): Promise<[ChildProcess, number]> {
  const script = join(import.meta.dirname, `${file}${extname(import.meta.filename)}`)
  // V8 collects and shrinks what idles, and forgets what it has optimized; the more gateways take turns, the more. One under traffic
  // never idles. The other flag is Signalbox's own (v8-flags.ts), and as good for the ceiling.
  const node = [process.execPath, '--no-memory-reducer', '--no-allocation-site-pretenuring', script]
  const [command, ...args] = canPin ? ['taskset', '-c', String(core), ...node] : node
  const child = spawn(command as string, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', ...env },
  })
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  return [child, port]
}

async function read(gateway: Pick<Gateway, 'process'>, wanted = 'cpu'): Promise<Reading> {
  gateway.process.send(wanted)
  const [reading] = (await once(gateway.process, 'message')) as [Reading]
  return reading
}

/** From the start of the process to its first answer, and what it holds idle and per open stream. */
async function measureMemory(gateway: Omit<Gateway, 'memory'>, startedAt: number): Promise<Gateway['memory']> {
  const target = { port: gateway.port, key }
  await run(target, 1, 1, false)
  const startMs = performance.now() - startedAt
  const idle = await read(gateway, 'memory')
  const drop = await hold(target, heldStreams)
  const held = await read(gateway, 'memory')
  drop()
  return { startMs, idleMB: idle.rss / 1e6, perStreamKB: (held.live - idle.live) / heldStreams / 1e3 }
}

async function warmUp({ port }: Gateway): Promise<void> {
  for (let turn = 0; turn < warmUps; turn++) {
    await run({ port, key }, requests, 32, false)
    await run({ port, key }, streams, streams, true)
  }
}

/** As {@link run}, with the CPU microseconds that the gateway took. */
async function measuredRun(gateway: Gateway, count: number, connections: number, stream: boolean) {
  const before = await read(gateway)
  const result = await run({ port: gateway.port, key }, count, connections, stream)
  const after = await read(gateway)
  return { ...result, cpu: after.cpu - before.cpu }
}

/** One round: adds to its samples. */
async function measure(gateway: Gateway): Promise<void> {
  const { samples } = gateway
  const target = { port: gateway.port, key }
  // It has been idle while the other had its turn.
  await run(target, requests / 2, 32, false)
  const { cpu, seconds } = await measuredRun(gateway, requests, 32, false)
  samples.request.push(cpu / requests)
  samples.rate.push(requests / seconds)
  await run(target, streams, streams, true)
  for (let turn = 0; turn < streamTurns; turn++) {
    const { cpu, firstByteMs } = await measuredRun(gateway, streams, streams, true)
    samples.chunk.push(cpu / (streams * chunksPerStream))
    samples.firstByte.push(median(firstByteMs))
  }
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

async function startGateway(name: string, file: string, env: Record<string, string>): Promise<Gateway> {
  const startedAt = performance.now()
  const [child, port] = await start(file, 0, env)
  const gateway = { name, process: child, port, samples: { request: [], rate: [], chunk: [], firstByte: [] } }
  return { ...gateway, memory: await measureMemory(gateway, startedAt) }
}

/** The ceiling and one variant, in turns. */
async function comparePair(name: string, extra: Record<string, string>): Promise<[ceiling: Gateway, variant: Gateway]> {
  const ceiling = await startGateway('ceiling', 'ceiling', env)
  const variant = await startGateway(name, 'signalbox', { ...env, ...extra })
  const pair: [Gateway, Gateway] = [ceiling, variant]
  for (const gateway of pair) await warmUp(gateway)
  for (let round = 0; round < rounds; round++) {
    for (const gateway of pair) await measure(gateway)
  }
  for (const gateway of pair) {
    gateway.process.kill()
    await once(gateway.process, 'exit')
  }
  return pair
}

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

/**
 * Of requests, which keep the processor busy, interference only ever adds: the best round is what the gateway takes, the rest is the
 * machine's. Of streams luck takes away as much (a reader that is awake need not be woken): there the median is told.
 */
const told = ({ samples }: Gateway, column: (typeof columns)[number]): number => {
  if (column === 'request') return Math.min(...samples.request)
  return column === 'rate' ? Math.max(...samples.rate) : median(samples[column])
}

function printMiddle(pairs: [ceiling: Gateway, variant: Gateway][]): void {
  const cells = columns.flatMap((column) => {
    const ratio = ([ceiling, variant]: [Gateway, Gateway]): number => told(variant, column) / told(ceiling, column)
    const sorted = pairs.toSorted((a, b) => ratio(a) - ratio(b))
    const [ceiling, variant] = sorted[Math.floor(sorted.length / 2)] as [Gateway, Gateway]
    const figures = `${told(ceiling, column).toFixed(1)} / ${told(variant, column).toFixed(1)}`
    return [figures, sorted.map((pair) => ratio(pair).toFixed(2)).join(' ')]
  })
  const memory = (['startMs', 'idleMB', 'perStreamKB'] as const).map((column) =>
    median(pairs.map(([, { memory }]) => memory[column])).toFixed(0),
  )
  print(`| ${[pairs[0]?.[1].name, ...cells, ...memory].join(' | ')} |`)
}

if (canPin) spawnSync('taskset', ['-cp', '1', String(process.pid)])
const [upstream, upstreamPort] = await start('upstream', 1)
const env = { BENCH_UPSTREAM: `http://127.0.0.1:${upstreamPort}`, BENCH_KEY: key }
const variants: Record<string, Record<string, string>> = {
  bare: {},
  'log line': { BENCH_LOG: 'info' },
  metrics: { BENCH_METRICS: 'on' },
  'metrics + log line': { BENCH_METRICS: 'on', BENCH_LOG: 'info' },
  traces: { OTEL_EXPORTER_OTLP_ENDPOINT: env.BENCH_UPSTREAM },
  'traces as JSON': {
    OTEL_EXPORTER_OTLP_ENDPOINT: env.BENCH_UPSTREAM,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
  },
  'traces of one in ten': {
    OTEL_EXPORTER_OTLP_ENDPOINT: env.BENCH_UPSTREAM,
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.1',
  },
}

print(
  `The best of ${rounds} rounds of ${requests} requests, and the median of ${rounds * streamTurns} times ${streams} streams of ${chunksPerStream} chunks each; of the middle one of ${starts} starts: ceiling / Signalbox. x is of each start.`,
)
print('')
print(
  '| Signalbox, with | CPU us/request | x | requests/s | x | CPU us/chunk | x | first byte ms | x | start ms | idle MB | KB/stream |',
)
print('|---|---|---|---|---|---|---|---|---|---|---|---|')
const only = process.env.BENCH_ONLY?.split(',')
for (const [name, extra] of Object.entries(variants)) {
  if (only !== undefined && !only.includes(name)) continue
  const pairs: [Gateway, Gateway][] = []
  for (let start = 0; start < starts; start++) pairs.push(await comparePair(name, extra))
  printMiddle(pairs)
}
upstream.kill()
