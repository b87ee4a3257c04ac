import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { stringify } from 'yaml'
import { freePort, type Owner, until } from './redis-server.ts'

/** What a webhook receives of one alert. */
export interface Notice {
  status: 'firing' | 'resolved'
  labels: Record<string, string>
  annotations: Record<string, string>
}

/** A real Alertmanager on a free port of 127.0.0.1, and the webhook to which it sends everything at once. They are gone with their test. */
export class Alertmanager {
  /** `127.0.0.1:PORT` */
  readonly host: string
  /** What has arrived at the webhook, in order. */
  readonly notices: Notice[] = []
  readonly #child: ChildProcess
  readonly #directory: string

  private constructor(host: string, child: ChildProcess, directory: string) {
    this.host = host
    this.#child = child
    this.#directory = directory
  }

  static async start(t: Owner): Promise<Alertmanager> {
    const webhook = createServer().listen(0, '127.0.0.1')
    await once(webhook, 'listening')
    t.teardown(async () => {
      webhook.close()
      webhook.closeAllConnections()
      await once(webhook, 'close')
    })
    const { port: webhookPort } = webhook.address() as AddressInfo

    const directory = mkdtempSync(join(tmpdir(), 'signalbox-alertmanager-'))
    const file = join(directory, 'alertmanager.yml')
    const config = {
      route: { receiver: 'test', group_by: ['alertname'], group_wait: '0s', group_interval: '200ms' },
      receivers: [{ name: 'test', webhook_configs: [{ url: `http://127.0.0.1:${webhookPort}/` }] }],
    }
    writeFileSync(file, stringify(config))
    const host = `127.0.0.1:${await freePort()}`
    const args = [
      `--config.file=${file}`,
      `--storage.path=${join(directory, 'data')}`,
      `--web.listen-address=${host}`,
      '--cluster.listen-address=',
    ]
    const log = join(directory, 'log')
    writeFileSync(log, '')
    // A test that is killed ends without its teardowns: then the kernel kills what it has started.
    const command = ['--pdeathsig', 'KILL', 'sh', '-c', 'exec prometheus-alertmanager "$@" 2>"$0"', log, ...args]
    const child = spawn('setpriv', command, { stdio: 'ignore' })
    const alertmanager = new Alertmanager(host, child, directory)
    webhook.on('request', async (request, response) => {
      const { alerts } = (await json(request)) as { alerts: Notice[] }
      alertmanager.notices.push(...alerts)
      response.end()
    })
    t.teardown(() => alertmanager.#stop())
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`Alertmanager did not start: ${readFileSync(log, 'utf8')}`)
      return await fetch(`http://${host}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      )
    }, 'Alertmanager is ready')
    return alertmanager
  }

  async #stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL')
      await once(this.#child, 'exit')
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
