import module, { type ResolveHookSync } from 'node:module'

const here = import.meta.url
const suffix = here.endsWith('.ts') ? 'ts' : 'js'

/** What the package's exports name, but of the gateway that runs: from source or as it was built. */
const own: ReadonlyMap<string, string> = new Map([
  ['signalbox', new URL(`./index.${suffix}`, here).href],
  ['signalbox/plugins', new URL(`../plugins/index.${suffix}`, here).href],
])

const isPackage = (specifier: string): boolean => !/^[./#]|:/.test(specifier)

const resolve: ResolveHookSync = (specifier, context, next) => {
  const url = own.get(specifier)
  if (url) return { url, shortCircuit: true }
  try {
    return next(specifier, context)
  } catch (error) {
    if (!isPackage(specifier)) throw error
    try {
      return next(specifier, { ...context, parentURL: here })
    } catch {
      throw error // which names the file that the import stands in
    }
  }
}

let shared = false

/**
 * From here on `import … from 'signalbox'` is the running gateway wherever the importing file lies, so that `instanceof` holds
 * on both sides, and a package that cannot be found from there is the gateway's own.
 */
export function shareOwnPackage(): void {
  if (shared) return
  shared = true
  module.registerHooks?.({ resolve }) // Bun has none
}
