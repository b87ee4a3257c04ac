import { errorCodes } from '../server/errors.ts'

/** The label of everything that has none of its own. */
export const other = '_other'

const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Clients may make up methods. */
export const methodOf = (method: string): string => (methods.has(method) ? method : other)

/** `2xx`, … */
export const statusClassOf = (status: number): string => `${Math.trunc(status / 100)}xx`

/** Codes are those of the gateway's own errors; an extension, or a provider, may have others. */
export const codeOf = (code: string): string => (errorCodes.has(code) ? code : other)

/** Values from outside that are labels as long as they are few; the rest is one. */
export class LabelValues {
  readonly #known: Set<string>
  #most: number

  /** `known`: those that are labels in any case. `most`: how many others may be. */
  constructor(most: number, known: Iterable<string> = []) {
    this.#known = new Set(known)
    this.#most = this.#known.size + most
  }

  /** These are labels in any case, too: as many others may be as before. */
  know(values: Iterable<string>): void {
    for (const value of values) {
      if (this.#known.has(value)) continue
      this.#known.add(value)
      this.#most += 1
    }
  }

  /** `mayJoin` false: only if it is a label already. */
  of(value: string, mayJoin = true): string {
    if (this.#known.has(value)) return value
    if (!mayJoin || this.#known.size >= this.#most) return other
    this.#known.add(value)
    return value
  }
}
