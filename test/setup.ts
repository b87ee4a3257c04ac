/** Installs the programs that the tests run beside Node: through apt as root, else it says what to install. */
import { spawnSync } from 'node:child_process'

/** Program to Debian package. */
const needed = { curl: 'curl' }

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
