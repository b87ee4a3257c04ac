import { Labelled, type Labels, type Sample, type Shown } from './labelled.ts'

/** The labels of an exemplar. */
export interface Exemplar {
  trace_id: string
  span_id: string
}

interface Series {
  sum: number
  /** Values in each bucket, and not in the one before. The last one is for what is above all bounds. */
  counts: number[]
  /** By bucket. */
  exemplars: Sample['exemplar'][]
}

/** A histogram that many requests observe in, each several times: see {@link Labelled}. */
export class Histogram<Label extends string> implements Shown {
  readonly name: string
  readonly help: string
  readonly type = 'histogram'
  readonly labelNames: readonly Label[]
  readonly #bounds: readonly number[]
  readonly #series: Labelled<Label, Series>

  /** `bounds`: the upper ones of its buckets, rising, without the infinite one. */
  constructor(name: string, help: string, bounds: readonly number[], labelNames: readonly Label[]) {
    this.name = name
    this.help = help
    this.#bounds = bounds
    this.labelNames = labelNames
    this.#series = new Labelled(labelNames, () => ({
      sum: 0,
      counts: Array.from({ length: bounds.length + 1 }, () => 0),
      exemplars: [],
    }))
  }

  /**
   * @param exemplar the trace that the value was seen in; its bucket shows the latest
   * @throws RangeError when the value is no number
   */
  observe(labels: Labels<Label>, value: number, exemplar?: Exemplar): void {
    if (!Number.isFinite(value)) throw new RangeError(`${this.name} cannot observe ${value}`)
    const series = this.#series.of(labels)
    const bounds = this.#bounds
    let index = 0
    while (index < bounds.length && value > (bounds[index] as number)) index++
    series.sum += value
    series.counts[index] = (series.counts[index] as number) + 1
    if (exemplar) series.exemplars[index] = { labelSet: { ...exemplar }, value, timestamp: Date.now() / 1000 }
  }

  get(): { name: string; help: string; type: string; values: Sample[] } {
    const { name, help, type } = this
    return { name, help, type, values: [...this.#series].flatMap(([labels, series]) => this.#samples(labels, series)) }
  }

  #samples(labels: Labels<Label>, { sum, counts, exemplars }: Series): Sample[] {
    let count = 0
    const samples = counts.map((more, index): Sample => {
      count += more
      const le = this.#bounds[index] ?? '+Inf'
      return { metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: count, exemplar: exemplars[index] }
    })
    return [
      ...samples,
      { metricName: `${this.name}_sum`, labels, value: sum },
      { metricName: `${this.name}_count`, labels, value: count },
    ]
  }
}
