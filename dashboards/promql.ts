/** What the variables `namespace` and `environment` choose. "All" is `.*`, which series without these labels match, too. */
const scope = ['namespace=~"$namespace"', 'environment=~"$environment"']

/** The series of a metric, of all models. */
export const series = (metric: string, ...matchers: string[]): string =>
  `${metric}{${[...scope, ...matchers].join(', ')}}`

/** The series of a metric, of the models that the variable `model` chooses. */
export const ofModel = (metric: string, ...matchers: string[]): string =>
  series(metric, `${metric.startsWith('gen_ai_') ? 'gen_ai_request_model' : 'model'}=~"$model"`, ...matchers)

/** Per second. */
export const rate = (counter: string): string => `rate(${counter}[$__rate_interval])`

/** Within the time that the dashboard shows. */
export const increase = (counter: string): string => `increase(${counter}[$__range])`

export const sum = (expression: string, ...by: string[]): string => aggregate('sum', expression, by)
export const max = (expression: string, ...by: string[]): string => aggregate('max', expression, by)
export const min = (expression: string, ...by: string[]): string => aggregate('min', expression, by)

const aggregate = (operator: string, expression: string, by: string[]): string =>
  by.length === 0 ? `${operator}(${expression})` : `${operator} by (${by.join(', ')}) (${expression})`

/** `buckets`: the series of a histogram's `_bucket`. */
export const quantile = (q: number, buckets: string, ...by: string[]): string =>
  `histogram_quantile(${q}, ${sum(rate(buckets), 'le', ...by)})`

/** The mean of what a histogram observed. `of` selects the series of the metric that it is given. */
export const mean = (histogram: string, of: (metric: string) => string, ...by: string[]): string =>
  `${sum(rate(of(`${histogram}_sum`)), ...by)} / ${sum(rate(of(`${histogram}_count`)), ...by)}`

/** 0, and not nothing, where there is none of the part. */
export const share = (part: string, whole: string): string => `(${part} or 0 * ${whole}) / ${whole}`

/** Node's own metrics have the same names in every process that shows them: of the gateway's alone. */
export const ofGateway = (expression: string): string =>
  `${expression} and on (job, instance) ${series('signalbox_build_info')}`
