import { join } from 'node:path'
import OpenAI from 'openai'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { replaceFile } from '../mounted.ts'
import { type Program, runGateway } from '../process.ts'
import { until } from '../redis-server.ts'
import { type Sample, scraped, sumOf } from '../scrape.ts'
import { type Json, startUpstream, type Upstream } from '../upstream.ts'

/** A provider that has forgotten everything before each test. */
export async function startProvider(t: Test): Promise<Upstream> {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  t.beforeEach(() => upstream.reset())
  return upstream
}

/** One model, `fast`, at this provider. */
export const usualAt = ({ baseURL }: Upstream) => ({
  providers: { openai: { apiKey: 'k', baseURL } },
  models: { fast: { targets: [{ model: 'openai/small' }] } },
})

export const hello = { messages: [{ role: 'user' as const, content: 'hello' }] }

/** A process whose configuration is changed while it runs, as an operator, an editor or the kubelet changes it. */
export interface Live {
  process: Program
  url: string
  directory: string
  /** Of `signalbox.yaml`. */
  file: string
  write(config: Json): Promise<void>
  client(apiKey?: string): OpenAI
  /** The status that a chat with this key is answered with. */
  status(apiKey?: string, model?: string): Promise<number>
  metrics(): Promise<Sample[]>
  metric(name: string, labels?: Record<string, string>): Promise<number | undefined>
  revision(): Promise<string | undefined>
  /** Resolves when this many reloads ended so. */
  reloads(outcome: 'applied' | 'unchanged' | 'failed', count?: number): Promise<void>
}

/** A process whose configuration is a file, and other files beside it. */
export async function start(t: Test, config: Json, files: Record<string, string> = {}): Promise<Live> {
  const directory = t.testdir({ 'signalbox.yaml': stringify(config), ...files })
  return startIn(t, directory)
}

/** Where the `signalbox.yaml` is there already. */
export async function startIn(t: Test, directory: string): Promise<Live> {
  const file = join(directory, 'signalbox.yaml')
  const gateway = await runGateway(t, { args: ['--config', file], lifeMs: 60_000 })
  const { url, baseURL } = gateway
  const client = (apiKey = 'any'): OpenAI => new OpenAI({ baseURL, apiKey, maxRetries: 0 })
  const metrics = () => scraped(url)
  return {
    process: gateway.process,
    url,
    directory,
    file,
    client,
    metrics,
    write: (config) => replaceFile(file, stringify(config)),
    status: (apiKey, model = 'fast') =>
      client(apiKey)
        .chat.completions.create({ model, ...hello })
        .then(
          () => 200,
          (error: unknown) => (error instanceof OpenAI.APIError ? Number(error.status) : 0),
        ),
    metric: async (name, labels) => sumOf(await metrics(), name, labels),
    revision: async () => (await metrics()).find(({ name }) => name === 'signalbox_config_revision')?.labels.revision,
    reloads: (outcome, count = 1) =>
      until(
        async () => sumOf(await metrics(), 'signalbox_config_reloads_total', { outcome }) === count,
        `${count} reloads were ${outcome}`,
      ),
  }
}
