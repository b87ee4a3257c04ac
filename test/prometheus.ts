import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { freePort, type Owner, until } from './redis-server.ts'

export interface PrometheusOptions {
  /** What is scraped, `127.0.0.1:PORT` each, at `/metrics`. */
  targets: readonly string[]
  /** Between two scrapes, and two evaluations of rules. Default `200ms`. */
  interval?: string
  /** What every series of the targets is given beside its own labels. */
  labels?: Readonly<Record<string, string>>
  /** More of how they are scraped, as in `scrape_configs`. */
  scrape?: Readonly<Record<string, unknown>>
  ruleFiles?: readonly string[]
  /** `127.0.0.1:PORT` each. */
  alertmanagers?: readonly string[]
}

/** One series of an answer. */
export interface Series {
  metric: Record<string, string>
  value: number
}

/** A real Prometheus on a free port of 127.0.0.1. It is gone with its test, and so is what it has kept. */
export class Prometheus {
  readonly url: string
  readonly #child: ChildProcess
  readonly #directory: string

  private constructor(url: string, child: ChildProcess, directory: string) {
    this.url = url
    this.#child = child
    this.#directory = directory
  }

  /** Resolves when every target has been scraped. */
  static async start(t: Owner, options: PrometheusOptions): Promise<Prometheus> {
    const { targets, interval = '200ms', labels = {}, scrape = {}, ruleFiles = [], alertmanagers = [] } = options
    const directory = mkdtempSync(join(tmpdir(), 'signalbox-prometheus-'))
    const file = join(directory, 'prometheus.yml')
    const config = {
      global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
      rule_files: ruleFiles,
      scrape_configs: [{ job_name: 'signalbox', static_configs: [{ targets, labels }], ...scrape }],
      alerting: { alertmanagers: [{ static_configs: [{ targets: alertmanagers }] }] },
    }
    writeFileSync(file, stringify(config))
    const port = await freePort()
    const args = [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--enable-feature=exemplar-storage',
    ]
    const log = join(directory, 'log')
    writeFileSync(log, '')
    // A test that is killed ends without its teardowns: then the kernel kills what it has started.
    const command = ['--pdeathsig', 'KILL', 'sh', '-c', 'exec prometheus "$@" 2>"$0"', log, ...args]
    const child = spawn('setpriv', command, { stdio: 'ignore' })
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, child, directory)
    t.teardown(() => prometheus.#stop())
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`Prometheus did not start: ${readFileSync(log, 'utf8')}`)
      const up = await prometheus.query('up == 1').catch(() => [])
      return up.length === targets.length
    }, 'every target is up')
    return prometheus
  }

  /** What an instant query comes to, now. A scalar is one series without labels. */
  async query(promql: string): Promise<Series[]> {
    const data = await this.get<{ resultType: string; result: unknown }>('query', { query: promql })
    if (data.resultType === 'scalar') return [{ metric: {}, value: Number((data.result as [number, string])[1]) }]
    const result = data.result as { metric: Record<string, string>; value: [number, string] }[]
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }))
  }

  /** Any of its API: `alerts`, `query_exemplars`, `targets`, … */
  async get<Data>(path: string, parameters: Record<string, string> = {}): Promise<Data> {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`)
    const body = (await answer.json()) as { status: string; error?: string; data: Data }
    if (body.status !== 'success') throw new Error(`${path} ${JSON.stringify(parameters)}: ${body.error}`)
    return body.data
  }

  async #stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL')
      await once(this.#child, 'exit')
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
