/** Tells the client what of its request was not honoured. */
export const warningHeader = 'x-signalbox-warning'

const longestWarning = 500
/** Of all together. Clients refuse an answer whose head is longer than 16 KB. */
const longestWarnings = 4000

/** What was not done as it was asked, each once: every step of a run has the same to say. */
export class Warnings {
  #heard: Set<string> | undefined
  #untold: string[] = []

  /** False when it was heard before. */
  add(warning: string): boolean {
    this.#heard ??= new Set()
    if (this.#heard.has(warning)) return false
    this.#heard.add(warning)
    this.#untold.push(warning)
    return true
  }

  /** There is none that the client has not been told. */
  get areTold(): boolean {
    return this.#untold.length === 0
  }

  /** Those that the client has not been told, in quotes and commas, as far as a header goes; empty when there are none. */
  take(): string {
    return toWarningHeader(this.#untold.splice(0))
  }
}

function toWarningHeader(warnings: readonly string[]): string {
  const quoted = warnings.map((warning) =>
    JSON.stringify(warning.replace(/[^\x20-\x7e]/g, '?').slice(0, longestWarning)),
  )
  let length = 0
  const told = quoted.filter((warning) => {
    length += warning.length + 2
    return length <= longestWarnings
  })
  const left = quoted.length - told.length
  return [...told, ...(left > 0 ? [`"and ${left} more"`] : [])].join(', ')
}
