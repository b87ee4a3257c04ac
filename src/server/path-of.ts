/** The path of an address without query, with doubled and trailing slashes folded. */
export function pathOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('://') + 3)
  const query = url.indexOf('?', start)
  const path = query === -1 ? url.slice(start) : url.slice(start, query)
  if (!path.includes('//') && !path.endsWith('/')) return path
  return path.replace(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '')
}
