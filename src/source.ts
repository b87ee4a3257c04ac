/** What extends it adds its private fields to a value that is there already. */
class Given {
  constructor(value: object) {
    // biome-ignore lint/correctness/noConstructorReturn: this is the point
    return value
  }
}

/**
 * The JSON text that a value was parsed from. What an upstream answered and nobody changed goes out as it came, to the
 * byte: `1.0` stays `1.0`, and a megabyte of embeddings is not written anew.
 *
 * Values with a source must not be changed in place; a changed copy (`{ ...value, model }`) has no source, and is
 * serialised as usual. (A private field, which any object can be given and no copy takes along: to define a property costs
 * more than to parse a small chunk, and a WeakMap costs a collection of garbage dearly.)
 */
class Sourced extends Given {
  readonly #text: string

  constructor(value: object, text: string) {
    super(value)
    this.#text = text
  }

  static textOf(value: object): string | undefined {
    return #text in value ? value.#text : undefined
  }
}

/** Remembers where a freshly parsed value came from. */
export function withSource<T extends object>(value: T, text: string): T {
  return new Sourced(value, text) as T
}

/** The text that a value came as; undefined when it did not come as one, or not as it is now. */
export const sourceOf = (value: object): string | undefined => Sourced.textOf(value)

/** The value as JSON: its source if it has one. */
export const toJSONText = (value: object): string => sourceOf(value) ?? JSON.stringify(value)
