import { type FSWatcher, watch } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReadFiles } from './read-files.ts'

export interface WatchOptions {
  /** What was last read, whether or not it was valid. */
  files(): ReadFiles
  /** Reads them again. Afterwards {@link files} says what was read then. */
  onChange(): Promise<unknown>
  /** Hears when `onChange` fails; the files are then looked at again. Default: nobody. */
  onError?: (error: unknown) => void
  /** Milliseconds between two looks at the files. Default 1000. */
  intervalMs?: number
  /** Milliseconds for which a file that has changed has to stay as it is: it may be half written. Default 100. */
  settleMs?: number
}

export interface Watching {
  close(): void
}

/**
 * Calls `onChange` when one of the files has another content than when it was read: written in place or put there by a rename, of
 * its own or of a directory or link on the way to it, as Kubernetes does. The file system is asked to tell; since not every one
 * does, the files are looked at now and then, too.
 */
export function watchFiles({
  files,
  onChange,
  onError = () => {},
  intervalMs = 1000,
  settleMs = 100,
}: WatchOptions): Watching {
  const watchers = new Map<string, FSWatcher>()
  let looking = false
  let isNews = false
  let closed = false

  /** What is not as it was read is read again, once it has been as it is for a while. */
  async function look(): Promise<void> {
    for (;;) {
      const found = await files().fingerprintNow()
      if (found === files().fingerprint) return
      await sleep(settleMs, undefined, { ref: false })
      if (closed) return
      if ((await files().fingerprintNow()) !== found) continue
      await onChange()
      listen()
      return
    }
  }

  /** One look at a time. What happens meanwhile is looked at afterwards. */
  async function lookAround(): Promise<void> {
    isNews = true
    if (looking) return
    looking = true
    while (isNews && !closed) {
      isNews = false
      await look().catch(onError)
    }
    looking = false
  }

  /** To the directories: a file that is replaced has a watcher of its own no longer. */
  function listen(): void {
    if (closed) return
    const directories = new Set(files().paths.flatMap((path) => [path, dirname(path)]))
    for (const [directory, watcher] of watchers) {
      if (directories.has(directory)) continue
      watcher.close()
      watchers.delete(directory)
    }
    for (const directory of directories) if (!watchers.has(directory)) listenTo(directory)
  }

  function listenTo(directory: string): void {
    const forget = (): void => {
      watchers.get(directory)?.close()
      watchers.delete(directory)
    }
    try {
      const watcher = watch(directory, { persistent: false }, () => void lookAround())
      watcher.on('error', forget)
      watchers.set(directory, watcher)
    } catch {
      // It is not there, or there are too many watchers: the timer sees what changes.
    }
  }

  const timer = setInterval(() => void lookAround(), intervalMs).unref()
  listen()
  return {
    close() {
      closed = true
      clearInterval(timer)
      for (const watcher of watchers.values()) watcher.close()
      watchers.clear()
    },
  }
}
