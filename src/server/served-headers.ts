/** Characters. */
const longestTarget = 300

/** How often a provider was asked for an answer, and who has served, if that is known. */
export const servedHeaders = (attempts: number, target: string | undefined): Record<string, string> => ({
  'x-signalbox-attempts': String(attempts),
  // A client's model may be any text.
  ...(target === undefined
    ? {}
    : { 'x-signalbox-target': target.replace(/[^\x21-\x7e]/g, '?').slice(0, longestTarget) }),
})
