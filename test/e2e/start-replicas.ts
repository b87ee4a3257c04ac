import { join } from 'node:path'
import OpenAI, { type ClientOptions } from 'openai'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { type Program, type ProgramOptions, runGateway } from '../process.ts'
import type { Json, Upstream } from '../upstream.ts'

/** One gateway of several. */
export interface Replica {
  /** `http://127.0.0.1:PORT` */
  url: string
  process: Program
  /** An official client that does not retry. */
  client(options?: ClientOptions): OpenAI
}

/** Starts two processes with one configuration, as behind one service of a cluster: provider `openai`, agent `helper`. */
export async function startReplicas(
  t: Test,
  { baseURL }: Upstream,
  config: Json,
  options: Pick<ProgramOptions, 'lifeMs'> = {},
): Promise<[Replica, Replica]> {
  const common = {
    // What fails is told at once, and every time.
    providers: { openai: { apiKey: 'k', baseURL, retries: { max: 0 }, breaker: { enabled: false } } },
    agents: { helper: { model: 'openai/m' } },
  }
  const cwd = t.testdir({ 'signalbox.yaml': stringify({ ...common, ...config }) })
  const start = async (): Promise<Replica> => {
    const args = ['--config', join(cwd, 'signalbox.yaml')]
    const { url, baseURL, process } = await runGateway(t, { ...options, args })
    return { url, process, client: (options) => new OpenAI({ baseURL, apiKey: 'any', maxRetries: 0, ...options }) }
  }
  return Promise.all([start(), start()])
}
