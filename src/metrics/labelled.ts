/** The labels of one series. Every one has a value: '' for none. */
export type Labels<Label extends string> = Readonly<Record<Label, string>>

/** One value of a series, in the form in which prom-client's registry prints it. */
export interface Sample {
  /** Default: the metric's. */
  metricName?: string
  labels: Readonly<Record<string, string | number>>
  value: number
  exemplar?: { labelSet: Readonly<Record<string, string>>; value: number; timestamp: number } | undefined
}

/** What prom-client's registry needs of a metric to print it. */
export interface Shown {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'histogram'
  get(): { name: string; help: string; type: string; values: Sample[] }
}

type Node<Series> = Map<string, Node<Series> | Series>

/**
 * The series of a metric by their labels, found label by label. prom-client puts a text together from all of them for each observation,
 * and looks that up: with ten observations a request, more than everything else that metrics do.
 */
export class Labelled<Label extends string, Series> {
  readonly #names: readonly Label[]
  readonly #create: () => Series
  readonly #root: Node<Series> = new Map()
  /** Of a metric without labels. */
  readonly #only: Series | undefined
  readonly #all: [Labels<Label>, Series][] = []

  constructor(names: readonly Label[], create: () => Series) {
    this.#names = names
    this.#create = create
    if (names.length === 0) {
      this.#only = create()
      this.#all.push([{} as Labels<Label>, this.#only])
    }
  }

  /** It begins with the first question for it. */
  of(labels: Labels<Label>): Series {
    if (this.#only !== undefined) return this.#only
    const names = this.#names
    const last = names.length - 1
    let node = this.#root
    for (let index = 0; index < last; index++) {
      const value = labels[names[index] as Label]
      const next = (node.get(value) as Node<Series> | undefined) ?? new Map()
      if (next.size === 0) node.set(value, next)
      node = next
    }
    const value = labels[names[last] as Label]
    return (node.get(value) as Series | undefined) ?? this.#begin(node, value, labels)
  }

  [Symbol.iterator](): Iterator<[Labels<Label>, Series]> {
    return this.#all[Symbol.iterator]()
  }

  #begin(node: Node<Series>, value: string, labels: Labels<Label>): Series {
    const series = this.#create()
    node.set(value, series)
    this.#all.push([labels, series])
    return series
  }
}
