/**
 * `npm run chaos`: some minutes of everything at once. Clients of every kind, providers that fail at random, Redis restarts,
 * changes of the configuration and gateways that are replaced one by one; at the end the account: every request has one answer, the
 * histories and the counters agree with what the clients were told, and the gateway that was there all along has leaked nothing.
 *
 * `CHAOS_SECONDS` (default 120), `CHAOS_CLIENTS` (24), `CHAOS_SEED` (random; it is printed).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Account } from './account.ts'
import { apiKey, Cluster } from './cluster.ts'
import { consistencyOf } from './consistency.ts'
import { Random } from './random.ts'
import { Client } from './traffic.ts'
import { heapTrend, type Vitals, vitalsOf } from './vitals.ts'

const seconds = Number(process.env.CHAOS_SECONDS ?? 120)
const clients = Number(process.env.CHAOS_CLIENTS ?? 24)
const seed = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 31))

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const random = new Random(seed)
const account = new Account()
const stopping = new AbortController()
print(`Chaos for ${seconds} s with ${clients} clients, seed ${seed}`)
const cluster = await Cluster.start(random, 3)
const events = { redisRestarts: 0, reloads: 0, replaced: 0 }
const exits: (number | null)[] = []
const vitals: Vitals[] = []
try {
  const { url } = cluster.balancer
  const all = Array.from({ length: clients }, (_, n) => {
    return new Client(String(n), { baseURL: `${url}/v1`, apiKey, account, random, signal: stopping.signal })
  })
  const traffic = Promise.all(all.map((client) => client.run()))
  await sleep(5000)
  const before = await vitalsOf(cluster.veteran)
  const until = Date.now() + seconds * 1000
  while (Date.now() < until) {
    const happens = random.pick([
      [2, 'redis'],
      [3, 'reload'],
      [3, 'replace'],
      [2, 'calm'],
    ] as const)
    if (happens === 'redis') {
      events.redisRestarts++
      await cluster.restartRedis()
    } else if (happens === 'reload') {
      events.reloads++
      cluster.reload()
    } else if (happens === 'replace') {
      events.replaced++
      exits.push(await cluster.replaceOne())
    }
    await sleep(random.between(500, 3000))
    vitals.push(await vitalsOf(cluster.veteran))
  }
  stopping.abort()
  await traffic
  // What clients left behind is given up; leases and keep-alive connections of this run end.
  await sleep(3000)
  const after = await vitalsOf(cluster.veteran)
  const conversations = all.map(({ conversation }) => conversation)
  const checks = {
    'every request has ended once': account.isBalanced,
    'none is lost': account.ends.lost === 0,
    'gateways that were told to stop did so': exits.every((code) => code === 0),
    'no request is open': after.inFlight === 0 && after.openStreams === 0,
    'sockets did not pile up': after.fileDescriptors <= before.fileDescriptors + 20,
    'timers and other resources did not pile up': after.resources <= before.resources + 40,
    ...(await consistencyOf(cluster, account, conversations)),
  }
  print('')
  print(`Events: ${JSON.stringify(events)}`)
  print(`Sent ${account.sent}: ${JSON.stringify(account.ends)}`)
  print(`Refused and broken, by reason: ${JSON.stringify(account.reasons)}`)
  for (const loss of account.losses.slice(0, 10)) print(`Lost: ${loss}`)
  print(`The gateway that was there all along: before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`)
  print(`Its heap over the run: ${heapTrend(vitals)}`)
  print('')
  for (const [name, holds] of Object.entries(checks)) print(`${holds ? 'ok    ' : 'NOT ok'} ${name}`)
  process.exitCode = Object.values(checks).every(Boolean) ? 0 : 1
} finally {
  stopping.abort()
  await cluster.close()
}
