import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program } from '../process.ts'
import type { ImageConfig } from './buildah.ts'

/** The part of a test that ends what was started for it. */
interface Owner {
  teardown(close: () => Promise<void>): unknown
}

/** What containers are made of. */
export interface Unpacked {
  config: ImageConfig
  /** The image's files. */
  files: string
  /** For the runtime's own: it goes with whatever holds it. */
  directory: string
}

export interface ContainerOptions {
  /** After the image's entrypoint. */
  args?: readonly string[]
  /** Instead of the image's entrypoint. */
  command?: readonly string[]
  /** Beside the image's. */
  env?: Readonly<Record<string, string>>
  /** Places in the container to folders of this machine, which it can only read. */
  mounts?: Readonly<Record<string, string>>
}

/** A container, and what it has written so far. It is gone when the test is over. */
export interface Container {
  process: Program
  /** Sent to its first process, as a kubelet or `docker stop` does. */
  kill(signal: 'SIGTERM' | 'SIGINT'): void
}

/**
 * Runs an image with an OCI runtime, runc, as strictly as the chart does: the image's user, a root file system that is read-only, no
 * capabilities, none gained, process 1 of its own. The network is this machine's.
 */
export function runContainer(
  t: Owner,
  { config, files, directory }: Unpacked,
  options: ContainerOptions = {},
): Container {
  const bundle = mkdtempSync(join(directory, 'bundle-'))
  const runtime = ['--root', join(directory, 'runtime')]
  const id = bundle.slice(-6)
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(specOf(config, files, options)))
  const program = new Program(t, 'runc', { args: [...runtime, 'run', '--bundle', bundle, id], lifeMs: 60_000 })
  // The container outlives the program that shows what it writes.
  const remove = (): void => void spawnSync('runc', [...runtime, 'delete', '--force', id], { stdio: 'ignore' })
  process.once('exit', remove)
  t.teardown(async () => {
    process.off('exit', remove)
    remove()
  })
  return {
    process: program,
    kill: (signal) => void execFileSync('runc', [...runtime, 'kill', id, signal]),
  }
}

const specOf = (
  { User, Entrypoint, Env, WorkingDir }: ImageConfig,
  files: string,
  { args = [], command = Entrypoint, env = {}, mounts = {} }: ContainerOptions,
): object => ({
  ociVersion: '1.0.0',
  process: {
    user: { uid: Number(User.split(':')[0]), gid: Number(User.split(':')[1]) },
    args: [...command, ...args],
    env: [...Env, ...Object.entries(env).map((entry) => entry.join('='))],
    cwd: WorkingDir,
    noNewPrivileges: true,
    capabilities: {},
  },
  root: { path: files, readonly: true },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755'] },
    ...Object.entries(mounts).map(([destination, source]) => ({
      destination,
      type: 'bind',
      source,
      options: ['rbind', 'ro'],
    })),
  ],
  linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }] },
})
