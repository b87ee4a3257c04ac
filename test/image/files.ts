import { closeSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'

/** A file, folder or link of an image. */
export interface Entry {
  /** From the root of the image, without a slash before it. */
  path: string
  isFile: boolean
  /** Bytes. */
  size: number
  uid: number
  /** The permissions, with the sticky bit. */
  mode: number
}

/** All that is in a folder, however deep, in order; links are not followed. */
export const entriesOf = (directory: string): Entry[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((path) => {
      const stats = lstatSync(join(directory, path))
      return { path, isFile: stats.isFile(), size: stats.size, uid: stats.uid, mode: stats.mode & 0o7777 }
    })

/** Whether it is machine code: a program or a library. */
export function isElf(file: string): boolean {
  const descriptor = openSync(file, 'r')
  try {
    const start = Buffer.alloc(4)
    readSync(descriptor, start)
    return start.toString('latin1') === '\x7fELF'
  } finally {
    closeSync(descriptor)
  }
}
