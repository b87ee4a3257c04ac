import { fileURLToPath } from 'node:url'

const version = '1.4.5'
const sha512: Readonly<Record<string, string>> = {
  x64: 'IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==',
  arm64: '4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==',
}
const architecture = process.arch === 'arm64' ? 'aarch64' : process.arch
const directory = fileURLToPath(new URL('../node_modules/.cache/bun/', import.meta.url))

/** The Bun that the tests run; `test/setup.ts` puts it there. Linux only, as the rest of the set-up. */
export const bun = {
  version,
  package: `@oven/bun-linux-${architecture}`,
  sha512: sha512[process.arch],
  directory,
  tarball: `${directory}oven-bun-linux-${architecture}-${version}.tgz`,
  program: `${directory}package/bin/bun`,
}
