import pino from 'pino'

/** Characters: more are not held back. */
const mostHeldBack = 64 * 1024

export interface LogDestination {
  write(lines: string): void
  /** Writes what is held back. pino calls it after a fatal line. */
  flushSync(): void
}

/**
 * Where a log is written to: in order, and the lines of one turn of the event loop at once. A write for each line costs more than to
 * make it. What is held back is written before the process ends, however it does, unless the system kills it; and synchronously,
 * so that a reader that has gone, or is slow, holds up no end.
 *
 * @param dest A file, or its descriptor. Default: standard output.
 */
export function logDestination(dest: string | number = 1): LogDestination {
  const file = pino.destination({ dest, sync: true })
  let heldBack = ''
  let turnEnd: NodeJS.Immediate | undefined
  const flushSync = (): void => {
    clearImmediate(turnEnd)
    turnEnd = undefined
    if (heldBack === '') return
    const lines = heldBack
    heldBack = ''
    file.write(lines)
  }
  process.on('exit', flushSync)
  return {
    write(lines) {
      heldBack += lines
      if (heldBack.length > mostHeldBack) flushSync()
      else turnEnd ??= setImmediate(flushSync)
    },
    flushSync,
  }
}
