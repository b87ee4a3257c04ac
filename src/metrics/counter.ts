import { Labelled, type Labels, type Sample, type Shown } from './labelled.ts'

/** A counter that many requests count in, each several times: see {@link Labelled}. */
export class Counter<Label extends string> implements Shown {
  readonly name: string
  readonly help: string
  readonly type = 'counter'
  readonly labelNames: readonly Label[]
  readonly #series: Labelled<Label, { value: number }>

  /** `name` ends in `_total`. */
  constructor(name: string, help: string, labelNames: readonly Label[]) {
    this.name = name
    this.help = help
    this.labelNames = labelNames
    this.#series = new Labelled(labelNames, () => ({ value: 0 }))
  }

  /**
   * @param by default 1; 0 to begin a series
   * @throws RangeError when it is less than 0, or no number: counters never go down
   */
  inc(labels: Labels<Label>, by = 1): void {
    if (!(by >= 0)) throw new RangeError(`${this.name} cannot grow by ${by}`)
    this.#series.of(labels).value += by
  }

  get(): { name: string; help: string; type: string; values: Sample[] } {
    const { name, help, type } = this
    return { name, help, type, values: [...this.#series].map(([labels, { value }]) => ({ labels, value })) }
  }
}
