import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'

/** The part of a test that ends what was started for it. */
export interface Owner {
  teardown(close: () => Promise<void>): unknown
}

/** One process of Redis, on a free port of 127.0.0.1. It keeps nothing on the disk and is gone with its test. */
export class RedisServer {
  readonly #directory = mkdtempSync(join(tmpdir(), 'signalbox-redis-'))
  readonly #program: string
  readonly #config: (port: number) => readonly string[]
  #child: ChildProcess | undefined
  port = 0

  private constructor(program: string, config: (port: number) => readonly string[]) {
    this.#program = program
    this.#config = config
  }

  /** `config`: lines of `redis.conf`. */
  static async start(
    t: Owner,
    config: (port: number) => readonly string[],
    program: 'redis-server' | 'redis-sentinel' = 'redis-server',
  ): Promise<RedisServer> {
    const server = new RedisServer(program, config)
    t.teardown(async () => {
      await server.kill()
      rmSync(server.#directory, { recursive: true, force: true })
    })
    server.port = await freePort()
    await server.restart()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Starts it after {@link kill}, empty. */
  async restart(): Promise<void> {
    const file = join(this.#directory, `${this.#program}.conf`)
    const log = join(this.#directory, 'log')
    const lines = ['bind 127.0.0.1', `port ${this.port}`, `dir ${this.#directory}`, `logfile ${log}`]
    writeFileSync(file, [...lines, ...this.#config(this.port), ''].join('\n'))
    // A test that is killed ends without its teardowns: then the kernel kills what it has started.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', this.#program, file], { stdio: 'ignore' })
    this.#child = child
    while (!(await listens(this.port))) {
      if (child.exitCode !== null) throw new Error(`Redis did not start: ${readFileSync(log, 'utf8')}`)
      await sleep(10)
    }
  }

  /** It answers nothing until {@link resume}. */
  pause(): void {
    const child = this.#child
    if (!child?.kill('SIGSTOP')) return
    // It is told, and answers until it has heard.
    while (!/\) T /.test(readFileSync(`/proc/${child.pid}/stat`, 'utf8'))) {}
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /** What it answers to one command, as text. */
  async ask(command: string, ...args: (string | number)[]): Promise<string> {
    const redis = new Redis({ port: this.port, host: '127.0.0.1', connectionName: 'test' })
    try {
      return JSON.stringify(await redis.call(command, ...args))
    } finally {
      redis.disconnect()
    }
  }
}

/** Resolves when it is so; fails after ten seconds. */
export async function until(isSo: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`it took too long: ${what}`)
    await sleep(20)
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address ? address.port : 0
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
