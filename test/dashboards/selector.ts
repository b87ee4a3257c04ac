import { parser } from '@prometheus-io/lezer-promql'
import type { Sample } from '../scrape.ts'

/** One condition on a label, as `status!="4xx"`. */
interface Matcher {
  label: string
  operator: string
  value: string
}

/** A metric in an expression, with the conditions on its labels. */
export interface Selector {
  text: string
  name: string
  matchers: Matcher[]
}

/** What an expression of PromQL asks for, and the labels that it groups or joins by. */
export function partsOf(expression: string): { selectors: Selector[]; labels: string[] } {
  const selectors: Selector[] = []
  const labels: string[] = []
  parser.parse(expression).iterate({
    enter({ name, from, to, type, node }) {
      if (type.isError) throw new Error(`no PromQL at ${expression.slice(from, from + 20)}`)
      const text = expression.slice(from, to)
      if (name === 'VectorSelector') selectors.push({ text, name: /^[\w:]+/.exec(text)?.[0] ?? '', matchers: [] })
      if (name === 'UnquotedLabelMatcher') selectors.at(-1)?.matchers.push(matcherOf(text))
      if (name === 'LabelName' && node.parent?.name === 'GroupingLabels') labels.push(text)
    },
  })
  return { selectors, labels }
}

function matcherOf(text: string): Matcher {
  const [, label = '', operator = '', value = ''] = /^(\w+)\s*(=~|!~|!=|=)\s*"(.*)"$/.exec(text) ?? []
  return { label, operator, value }
}

/** Whether Prometheus would take the sample. */
export function selects({ name, matchers }: Selector, sample: Sample): boolean {
  return sample.name === name && matchers.every((matcher) => holds(matcher, sample.labels[matcher.label] ?? ''))
}

function holds({ operator, value }: Matcher, label: string): boolean {
  const isSame = operator.endsWith('~') ? new RegExp(`^(?:${value})$`).test(label) : label === value
  return isSame !== operator.startsWith('!')
}
