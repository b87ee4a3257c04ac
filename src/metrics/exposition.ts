import { type Metric, Registry, type RegistryContentType } from 'prom-client'
import { Counter } from './counter.ts'
import { Histogram } from './histogram.ts'
import type { Shown } from './labelled.ts'

/** What a scrape is answered. */
export interface Scrape {
  contentType: string
  text: string
}

/** Metrics as text: in Prometheus' own format, or in OpenMetrics, which has exemplars. */
export class Exposition {
  readonly #plain = new Registry()
  readonly #openMetrics: Registry<RegistryContentType> = new Registry()

  constructor(metrics: Iterable<Metric | Shown>) {
    this.#openMetrics.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
    for (const metric of metrics) {
      // Of a metric the library reads no more than what is shown; its types say more.
      this.#plain.registerMetric(metric as Metric)
      // OpenMetrics names a counter without its `_total`, and the library renames what it has printed so: it gets a shadow.
      this.#openMetrics.registerMetric(shadowOf(metric) as Metric)
    }
  }

  get names(): string[] {
    return this.#plain.getMetricsAsArray().map(({ name }) => name)
  }

  /** `accept`: the header of that name. */
  async scrape(accept = ''): Promise<Scrape> {
    const isOpen = qualityOf(accept, 'application/openmetrics-text') > qualityOf(accept, 'text/plain')
    const registry = isOpen ? this.#openMetrics : this.#plain
    return { contentType: registry.contentType, text: await registry.metrics() }
  }
}

/** How much a media type is wanted that is named: the most of its `q`, 0 when it is not named. */
function qualityOf(accept: string, type: string): number {
  const qualities = accept
    .toLowerCase()
    .split(',')
    .map((range) => range.split(';').map((part) => part.trim()))
    .filter(([name]) => name === type)
    .map((parts) => Number(parts.find((part) => part.startsWith('q='))?.slice(2) ?? 1))
  return Math.max(0, ...qualities.filter((quality) => quality >= 0))
}

function shadowOf(metric: Metric | Shown): object {
  if (!(metric instanceof Counter || metric instanceof Histogram)) return Object.create(metric)
  const { name, help, type } = metric
  const shadow: Shown = { name, help, type, get: () => ({ ...metric.get(), name: shadow.name }) }
  return shadow
}
