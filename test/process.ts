import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:net'
import { delimiter, dirname } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** The root of the repository. */
export const root = fileURLToPath(new URL('..', import.meta.url))

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))

/** Longer than almost anything here takes: a process that does not end by then is killed, and has no exit code. */
const patience = 15_000

/** The part of a test that ends what was started for it. */
interface Owner {
  teardown(close: () => Promise<void>): unknown
}

export interface ProgramOptions {
  args?: readonly string[]
  /** Beside `PATH` and `HOME`; nothing else is inherited, as on a machine where nothing was set up. */
  env?: Readonly<Record<string, string>>
  /** Default: the root of the repository. */
  cwd?: string
  /** Milliseconds after which it is killed. Default 15 000. */
  lifeMs?: number
}

export interface Exit {
  /** Null when a signal ended it. */
  code: number | null
  stdout: string
  stderr: string
}

/** A process, and what it has written so far. It is gone when the test is over. */
export class Program {
  stdout = ''
  stderr = ''
  /** Resolves when it has ended and everything that it wrote has arrived. */
  readonly exited: Promise<Exit>
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  readonly #news = new EventEmitter()
  #over = false

  constructor(t: Owner, command: string, { args = [], env = {}, cwd = root, lifeMs = patience }: ProgramOptions = {}) {
    // The Node that runs the tests is the Node of their programs.
    const path = [dirname(process.execPath), process.env.PATH].join(delimiter)
    const variables = Object.entries({ PATH: path, HOME: process.env.HOME, ...env }).map((entry) => entry.join('='))
    // `env -i` and not the option, to which tap adds variables that load its own hooks into every Node.
    this.#child = spawn('env', ['-i', ...variables, command, ...args], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: lifeMs,
      killSignal: 'SIGKILL',
    })
    this.#collect('stdout')
    this.#collect('stderr')
    this.exited = this.#ended()
    this.exited.catch(() => undefined) // one that cannot start is told to whoever waits for it
    // A test file that times out ends without its teardowns.
    const killed = (): void => this.kill('SIGKILL')
    process.once('exit', killed)
    t.teardown(async () => {
      process.off('exit', killed)
      killed()
      await this.exited.catch(() => undefined)
    })
  }

  /** Resolves with the first match in its standard output, from the start on; rejects when it ends without one. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stdout)
      if (match) return match
      if (this.#over) throw new Error(`it ended without saying ${pattern}:\n${this.stdout}${this.stderr}`)
      await Promise.race([once(this.#news, 'output'), this.exited])
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  #collect(name: 'stdout' | 'stderr'): void {
    this.#child[name].setEncoding('utf8').on('data', (text: string) => {
      this[name] += text
      this.#news.emit('output')
    })
  }

  async #ended(): Promise<Exit> {
    const [code] = (await once(this.#child, 'close')) as [number | null]
    this.#over = true
    return { code, stdout: this.stdout, stderr: this.stderr }
  }
}

/** Runs the `signalbox` command from its source. */
export const runSignalbox = (t: Owner, options: ProgramOptions = {}): Program =>
  new Program(t, process.execPath, { ...options, args: [main, ...(options.args ?? [])] })

/** Runs a module as a user of the package does: `import … from 'signalbox'` finds this repository's source. */
export const runModule = (t: Owner, file: string, options: ProgramOptions = {}): Program =>
  new Program(t, process.execPath, { ...options, args: ['--conditions=signalbox-source', file] })

/** The gateway as a process of its own. */
export interface GatewayProcess {
  process: Program
  /** `http://127.0.0.1:PORT` */
  url: string
  /** What an OpenAI SDK is pointed at. */
  baseURL: string
  port: number
}

/** Starts the gateway, on a free port unless `PORT` says otherwise, and waits until it says where it runs. */
export async function runGateway(t: Owner, options: ProgramOptions = {}): Promise<GatewayProcess> {
  const program = runSignalbox(t, { ...options, env: { PORT: '0', ...options.env } })
  const [, url = ''] = await program.says(/Signalbox is running at (http:\/\/[^/:]+:\d+)/)
  return { process: program, url, baseURL: `${url}/v1`, port: Number(new URL(url).port) }
}

/** The messages of a log, in order. */
export const messagesOf = (log: string): string[] =>
  log.split('\n').flatMap((line): string[] => (line.startsWith('{') ? [JSON.parse(line).msg] : []))

/**
 * Holds a fixed port for a test's programs, until the test is over. Test files run side by side: the guard is a second
 * port that only the holder of the first one listens on.
 */
export async function holdPort(t: Owner, port: number): Promise<void> {
  const deadline = Date.now() + patience
  for (;;) {
    const release = await bind(port + 10_000)
    if (release) {
      t.teardown(release)
      break
    }
    if (Date.now() > deadline) throw new Error(`another test has held port ${port} for too long`)
    await sleep(50)
  }
  const free = await bind(port)
  if (!free) throw new Error(`port ${port} is taken by another program; stop it to run this test`)
  await free()
}

/** Listens on the port and returns what stops that; undefined when the port is taken. */
async function bind(port: number): Promise<(() => Promise<void>) | undefined> {
  const server = createServer()
  try {
    await once(server.listen(port), 'listening')
  } catch {
    return undefined
  }
  return async () => {
    server.close()
    await once(server, 'close')
  }
}
