import { randomUUID } from 'node:crypto'
import { open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Tells the temporary files of this process from those that a killed one left behind. */
const run = randomUUID()
const temporary = /\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.\d+\.tmp$/
let writes = 0

/**
 * Replaces a file as a whole: whoever reads it, and whatever ends this process or the machine, finds the old content or the
 * new one. When it resolves, the new one is on the disk.
 */
export async function writeAtomically(file: string, text: string): Promise<void> {
  const draft = `${file}.${run}.${writes++}.tmp`
  try {
    await writeFile(draft, text, { flag: 'wx', mode: 0o600, flush: true })
    await rename(draft, file)
  } catch (error) {
    // Its own failure would hide the one that matters.
    await rm(draft, { force: true }).catch(() => {})
    throw error
  }
  await syncDirectory(dirname(file))
}

/** A name that was added, changed or removed is on the disk only when its directory is. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Removes what {@link writeAtomically} of another, ended process did not finish. */
export async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const owner = temporary.exec(name)?.[1]
    if (owner && owner !== run) await rm(join(directory, name), { force: true })
  }
}
