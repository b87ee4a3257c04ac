import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { type Balancer, startBalancer } from '../../test/balancer.ts'
import { type GatewayProcess, runGateway } from '../../test/process.ts'
import { RedisServer } from '../../test/redis-server.ts'
import { startUpstream, type Upstream } from '../../test/upstream.ts'
import { moody } from './faults.ts'
import type { Random } from './random.ts'

export const apiKey = 'sk-chaos-0123456789'

/** Longer than any run. */
const lifeMs = 30 * 60_000

/** A line of a gateway's log for a request that is over. */
export interface RequestLine {
  requestId: string
  route: string
  status: number
  outcome: string
}

/** Several gateways behind one balancer, with one Redis that keeps what it was told, and providers in a bad mood. */
export class Cluster {
  readonly upstreams: Upstream[] = []
  readonly #closers: (() => Promise<void>)[] = []
  readonly #directory = mkdtempSync(join(tmpdir(), 'signalbox-chaos-'))
  readonly #random: Random
  /** All that ever ran. The first one is never restarted: what it leaks shows. */
  readonly gateways: GatewayProcess[] = []
  #serving: GatewayProcess[] = []
  #generation = 0
  redis!: RedisServer
  balancer!: Balancer

  private constructor(random: Random) {
    this.#random = random
  }

  static async start(random: Random, replicas: number): Promise<Cluster> {
    const cluster = new Cluster(random)
    cluster.redis = await RedisServer.start(cluster, () => ['save ""', 'appendonly yes', 'appendfsync always'])
    for (let n = 0; n < 2; n++) {
      const upstream = await startUpstream()
      upstream.behave(moody(random))
      cluster.upstreams.push(upstream)
      cluster.teardown(() => upstream.close())
    }
    cluster.#configure()
    cluster.balancer = await startBalancer(cluster)
    for (let n = 0; n < replicas; n++) cluster.#serving.push(await cluster.#startGateway())
    return cluster
  }

  /** Ends what was started, last first. */
  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** As of a test. */
  teardown(close: () => Promise<void>): void {
    this.#closers.push(close)
  }

  get veteran(): GatewayProcess {
    return this.gateways[0] as GatewayProcess
  }

  /** A new gateway takes the place of one that gets a SIGTERM; resolves with that one's exit code. */
  async replaceOne(): Promise<number | null> {
    const old = this.#serving[this.#random.between(1, this.#serving.length - 1)] as GatewayProcess
    const young = await this.#startGateway()
    this.#serving = [...this.#serving, young]
    old.process.kill('SIGTERM')
    const { code } = await old.process.exited
    this.balancer.remove(old.url)
    this.#serving = this.#serving.filter((gateway) => gateway !== old)
    return code
  }

  /** The configuration changes under the running gateways. */
  reload(): void {
    this.#generation++
    this.#configure()
    for (const { process } of this.#serving) process.kill('SIGHUP')
  }

  async restartRedis(): Promise<void> {
    await this.redis.kill()
    await this.redis.restart()
  }

  /** What the gateways wrote of requests to models. */
  requestLines(): RequestLine[] {
    return this.gateways.flatMap(({ process }) => linesOf(process.stdout))
  }

  async #startGateway(): Promise<GatewayProcess> {
    const gateway = await runGateway(this, { args: ['--config', join(this.#directory, 'signalbox.yaml')], lifeMs })
    this.gateways.push(gateway)
    await this.balancer.add(gateway.url)
    return gateway
  }

  #configure(): void {
    const providers = Object.fromEntries(
      this.upstreams.map(({ baseURL }, n) => [`p${n}`, { kind: 'openai-compatible', baseURL, apiKey: 'k' }]),
    )
    const targets = this.upstreams.map((_, n) => ({ model: `p${n}/m`, weight: 1 + ((this.#generation + n) % 2) }))
    const config = {
      server: { port: 0, drainDelay: '1s', drainTimeout: '20s' },
      auth: { keys: [{ key: apiKey, user: 'chaos', limits: { requestsPerMinute: 1_000_000 } }] },
      providers,
      // The sticky ones go back to where they were when the weights do.
      models: { chaos: { targets, limits: { concurrentRequests: 1000 } } },
      store: { kind: 'redis', url: this.redis.url, commandTimeout: '500ms' },
    }
    writeFileSync(join(this.#directory, 'signalbox.yaml'), stringify(config))
  }
}

export const linesOf = (log: string): RequestLine[] =>
  log.split('\n').flatMap((line): RequestLine[] => {
    if (!line.includes('"msg":"request"') || !line.includes('"/v1/')) return []
    return [JSON.parse(line) as RequestLine]
  })
