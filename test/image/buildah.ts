import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** The part of a test that removes what was made for it. */
interface Owner {
  teardown(close: () => Promise<void>): unknown
}

/** What is run when a container is started from an image. */
export interface ImageConfig {
  User: string
  WorkingDir: string
  Entrypoint: string[]
  Cmd?: string[]
  Env: string[]
  ExposedPorts: Record<string, object>
  Labels: Record<string, string>
}

/** Buildah with a store of its own, in a folder that is gone when the test is over. Needs root, and no daemon. */
export class Buildah {
  /** For whatever else the test makes: it goes with the store. */
  readonly directory = mkdtempSync(join(tmpdir(), 'signalbox-image-'))

  constructor(t: Owner) {
    t.teardown(async () => {
      try {
        await this.run('rm', '--all')
        await this.run('rmi', '--all', '--force')
      } finally {
        rmSync(this.directory, { recursive: true, force: true })
      }
    })
  }

  /** What it wrote to its standard output; throws with what it wrote at all when it fails. At most ten minutes. */
  async run(...args: string[]): Promise<string> {
    const store = ['--root', join(this.directory, 'store'), '--runroot', join(this.directory, 'run')]
    const { stdout } = await execute('buildah', ['--storage-driver', 'vfs', ...store, ...args], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, BUILDAH_ISOLATION: 'chroot' },
      timeout: 600_000,
      maxBuffer: 64 * 1024 * 1024,
    })
    return stdout.trim()
  }

  /** An image that is these files and nothing else. */
  async imageOf(directory: string, name: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
    const container = await this.run('from', 'scratch')
    await this.run('copy', '--quiet', container, directory, '/')
    const settings = Object.entries(env).flatMap(([key, value]) => ['--env', `${key}=${value}`])
    if (settings.length > 0) await this.run('config', ...settings, container)
    await this.run('commit', '--quiet', '--rm', container, name)
    return name
  }

  /** Where the files of an image are, in a copy that may be written to. */
  async files(image: string): Promise<string> {
    return this.run('mount', await this.run('from', '--pull-never', image))
  }

  async config(image: string): Promise<ImageConfig> {
    const { OCIv1 } = JSON.parse(await this.run('inspect', '--type', 'image', image)) as {
      OCIv1: { config: ImageConfig }
    }
    return OCIv1.config
  }
}
