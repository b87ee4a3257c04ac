/** Tells the client what of its request was not honoured. */
export const warningHeader = 'x-signalbox-warning'

const longestWarning = 500
/** Of all together. Clients refuse an answer whose head is longer than 16 KB. */
const longestWarnings = 4000

/** Warnings in quotes and commas, as far as a header goes; empty when there are none. */
export function toWarningHeader(warnings: readonly string[]): string {
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
