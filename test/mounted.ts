import { mkdir, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Puts a file in the place of another one in one step, as `mv` and most editors do. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text)
  await rename(`${path}.new`, path)
}

/** A ConfigMap or Secret in a directory, as the kubelet mounts it: what is visible are links through `..data`. */
export class Mounted {
  readonly #directory: string
  #versions = 0
  #current: string | undefined
  #visible = new Set<string>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /**
   * The kubelet's steps: a directory with the new files, a link `..data_tmp` to it, which is renamed over `..data`; then the visible
   * links that are missing or too many, and the old directory is removed.
   */
  async update(files: Record<string, string>): Promise<void> {
    const at = (...names: string[]): string => join(this.#directory, ...names)
    const version = `..2027_01_01_00_00_00.${this.#versions++}`
    await mkdir(at(version), { recursive: true })
    for (const [name, text] of Object.entries(files)) await writeFile(at(version, name), text)
    await symlink(version, at('..data_tmp'))
    await rename(at('..data_tmp'), at('..data'))
    for (const name of Object.keys(files)) {
      if (!this.#visible.has(name)) await symlink(join('..data', name), at(name))
    }
    for (const name of this.#visible) if (!(name in files)) await unlink(at(name))
    this.#visible = new Set(Object.keys(files))
    if (this.#current) await rm(at(this.#current), { recursive: true })
    this.#current = version
  }
}
