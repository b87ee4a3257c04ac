/**
 * The JSON text that a value was parsed from. What an upstream answered and nobody changed goes out as it came, to the
 * byte: `1.0` stays `1.0`, and a megabyte of embeddings is not written anew.
 *
 * Values with a source must not be changed in place; a changed copy (`{ ...value, model }`) has no source, and is
 * serialised as usual. (A property that no copy takes along, and no WeakMap: that costs a collection of garbage dearly.)
 */
const source = Symbol('source')

interface WithSource {
  readonly [source]?: string
}

/** Remembers where a freshly parsed value came from. */
export function withSource<T extends object>(value: T, text: string): T {
  return Object.defineProperty(value, source, { value: text })
}

/** The text that a value came as; undefined when it did not come as one, or not as it is now. */
export const sourceOf = (value: object): string | undefined => (value as WithSource)[source]

/** The value as JSON: its source if it has one. */
export const toJSONText = (value: object): string => sourceOf(value) ?? JSON.stringify(value)
