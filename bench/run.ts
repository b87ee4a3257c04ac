/**
 * `npm run bench`: Signalbox against the ceiling, interleaved in one run. The gateway has a core of its own (where the
 * machine has two), the load and the mock provider share the other. CPU is the gateway process's own, so a busy load
 * generator does not flatter anybody.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { hold, run } from './load.ts'
import type { Reading } from './measured.ts'

const rounds = Number(process.env.BENCH_ROUNDS ?? 5)
const requests = 4000
const streams = 100
const chunksPerStream = 200
const heldStreams = 500
const key = 'sk-bench-0123456789'

interface Gateway {
  name: string
  process: ChildProcess
  port: number
  memory: { startMs: number; idleMB: number; perStreamKB: number }
  samples: { request: number; rate: number; chunk: number; firstByte: number }[]
}

const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-c', '0', 'true']).status === 0

async function start(file: string, core: number, env: Record<string, string> = {}): Promise<[ChildProcess, number]> {
  const script = fileURLToPath(new URL(file, import.meta.url))
  // V8 collects and shrinks what idles, and forgets what it has optimized; the more gateways take turns, the more. One under traffic
  // never idles.
  const node = [process.execPath, '--no-memory-reducer', script]
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

/** CPU microseconds a piece. */
async function measure(gateway: Gateway): Promise<Gateway['samples'][number]> {
  const target = { port: gateway.port, key }
  // It has been idle while the others had their turn.
  await run(target, requests / 2, 32, false)
  const before = await read(gateway)
  const { seconds } = await run(target, requests, 32, false)
  const between = await read(gateway)
  const streamed = await run(target, streams, 50, true)
  const after = await read(gateway)
  return {
    request: (between.cpu - before.cpu) / requests,
    rate: requests / seconds,
    chunk: (after.cpu - between.cpu) / (streams * chunksPerStream),
    firstByte: median(streamed.firstByteMs),
  }
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

if (canPin) spawnSync('taskset', ['-cp', '1', String(process.pid)])
const [upstream, upstreamPort] = await start('upstream.ts', 1)
const env = { BENCH_UPSTREAM: `http://127.0.0.1:${upstreamPort}`, BENCH_KEY: key }
const gateways: Gateway[] = []
for (const [name, file, extra] of [
  ['ceiling', 'ceiling.ts', {}],
  ['signalbox', 'signalbox.ts', {}],
  ['signalbox + log line', 'signalbox.ts', { BENCH_LOG: 'info' }],
  ['signalbox + metrics', 'signalbox.ts', { BENCH_METRICS: 'on' }],
  ['signalbox + metrics + log line', 'signalbox.ts', { BENCH_METRICS: 'on', BENCH_LOG: 'info' }],
  ['signalbox + traces', 'signalbox.ts', { OTEL_EXPORTER_OTLP_ENDPOINT: env.BENCH_UPSTREAM }],
] as const) {
  const startedAt = performance.now()
  const [child, port] = await start(file, 0, { ...env, ...extra })
  const gateway = { name, process: child, port, samples: [] }
  gateways.push({ ...gateway, memory: await measureMemory(gateway, startedAt) })
}

for (const gateway of gateways) await measure(gateway) // warm-up
for (let round = 0; round < rounds; round++) {
  for (const gateway of gateways) gateway.samples.push(await measure(gateway))
}

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const columns = ['request', 'rate', 'chunk', 'firstByte'] as const
const [ceiling] = gateways
print(`Medians of ${rounds} rounds, ${requests} requests and ${streams} streams of ${chunksPerStream} chunks each.`)
print('')
print('| gateway | CPU us/request | x | requests/s | x | CPU us/chunk | x | first byte ms | x |')
print('|---|---|---|---|---|---|---|---|---|')
for (const { name, samples } of gateways) {
  const cells = columns.flatMap((column) => {
    const value = median(samples.map((sample) => sample[column]))
    // A ratio within each round: what slows the machine for a while slows both.
    const ratios = samples.map((sample, round) => sample[column] / (ceiling?.samples[round]?.[column] ?? Number.NaN))
    return [value.toFixed(1), median(ratios).toFixed(2)]
  })
  print(`| ${name} | ${cells.join(' | ')} |`)
}
print('')
print('| gateway | start to first answer ms | idle MB | KB per open stream |')
print('|---|---|---|---|')
for (const { name, memory } of gateways) {
  print(`| ${name} | ${memory.startMs.toFixed(0)} | ${memory.idleMB.toFixed(0)} | ${memory.perStreamKB.toFixed(1)} |`)
}
for (const child of [upstream, ...gateways.map((gateway) => gateway.process)]) child.kill()
