import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Buildah } from './buildah.ts'

const certificates = '/etc/ssl/certs/ca-certificates.crt'

/**
 * Stand-ins for the images that the Dockerfile starts from, which no registry brings to a test: this machine's own programs, where
 * those images have theirs.
 */
export interface BaseImages {
  /** Like distroless: Node in /nodejs/bin, its libraries, users, CA certificates, and nothing else. */
  base: string
  /** Beside it npm, a shell, and the few programs that the Dockerfile's commands use. */
  buildBase: string
}

export async function makeBaseImages(buildah: Buildah): Promise<BaseImages> {
  const base = layBase(join(buildah.directory, 'base'))
  const buildBase = layBase(join(buildah.directory, 'build-base'))
  addBuildTools(buildBase)
  return {
    base: await buildah.imageOf(base, 'localhost/base'),
    buildBase: await buildah.imageOf(buildBase, 'localhost/build-base', {
      PATH: '/usr/local/bin:/nodejs/bin:/usr/bin:/bin',
      npm_config_cafile: certificates,
      npm_config_registry: outputOf('npm', 'config', 'get', 'registry'),
    }),
  }
}

function layBase(root: string): string {
  addProgram(root, process.execPath, '/nodejs/bin/node')
  add(root, certificates)
  write(
    root,
    '/etc/passwd',
    'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n',
  )
  write(root, '/etc/group', 'root:x:0:\nnonroot:x:65532:\n')
  mkdirSync(join(root, 'tmp'))
  chmodSync(join(root, 'tmp'), 0o1777)
  return root
}

function addBuildTools(root: string): void {
  for (const program of ['/bin/sh', '/usr/bin/env', '/usr/bin/find', '/bin/rm']) addProgram(root, program)
  const npm = resolve(realpathSync(outputOf('sh', '-c', 'command -v npm')), '../..')
  cpSync(npm, join(root, 'usr/local/lib/node_modules/npm'), { recursive: true })
  mkdirSync(join(root, 'usr/local/bin'))
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'))
}

/** A program, with the libraries that it is linked to. */
function addProgram(root: string, program: string, to = program): void {
  add(root, program, to)
  for (const [library] of outputOf('ldd', program).matchAll(/\/\S+(?= \(0x)/g)) add(root, library)
}

function add(root: string, file: string, to = file): void {
  const place = join(root, to)
  mkdirSync(dirname(place), { recursive: true })
  cpSync(realpathSync(file), place)
}

function write(root: string, file: string, text: string): void {
  mkdirSync(dirname(join(root, file)), { recursive: true })
  writeFileSync(join(root, file), text)
}

const outputOf = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8' }).trim()
