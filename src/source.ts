/**
 * The JSON text that a value was parsed from. What an upstream answered and nobody changed goes out as it came, to the
 * byte: `1.0` stays `1.0`, and a megabyte of embeddings is not written anew.
 *
 * Values with a source must not be changed in place; a changed copy (`{ ...value, model }`) has no source, and is
 * serialised as usual.
 */
const sources = new WeakMap<object, string>()

/** Remembers where a freshly parsed value came from. */
export function withSource<T extends object>(value: T, text: string): T {
  sources.set(value, text)
  return value
}

/** The value as JSON: its source if it has one. */
export const toJSONText = (value: object): string => sources.get(value) ?? JSON.stringify(value)
