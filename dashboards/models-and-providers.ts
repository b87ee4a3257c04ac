import { board } from './board.ts'
import { heatmap, lines, uids } from './panels.ts'
import { max, mean, ofModel, quantile, rate, series, share, sum } from './promql.ts'

const attempts = (...matchers: string[]): string => rate(ofModel('signalbox_upstream_attempts_total', ...matchers))
const cacheRequests = (...matchers: string[]): string => ofModel('signalbox_cache_requests_total', ...matchers)
const answered = ofModel('gen_ai_client_operation_duration_seconds_bucket', 'error_type=""')
const firstToken = ofModel('gen_ai_server_time_to_first_token_seconds_bucket')
const perToken = 'gen_ai_server_time_per_output_token_seconds'
const model = 'gen_ai_request_model'

export const modelsAndProviders = board({
  uid: uids.models,
  title: 'Models and providers',
  description: 'How often each provider is asked, how it fails, how fast it is, and what agents do with its answers.',
  rows: {
    Attempts: [
      lines({
        title: 'Attempts by target',
        description:
          'Times that a provider was asked, by `provider/name`; an agent asks several times for one answer. `_other` is a target of a wildcard that has not answered yet.',
        unit: 'reqps',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: { '{{target}}': sum(attempts(), 'target') },
      }),
      lines({
        title: 'Failed attempts by target',
        description: 'Share of attempts that failed; those that nobody waited for any more are no failures.',
        unit: 'percentunit',
        limits: { above: [0.01, 0.1] },
        next: 'overview',
        queries: {
          '{{target}}': share(sum(attempts('outcome="error"'), 'target'), sum(attempts(), 'target')),
        },
      }),
      lines({
        title: 'Failed attempts by kind',
        description: 'Attempts that failed, by provider and code: a timeout, a limit, a lost connection, a refusal.',
        unit: 'reqps',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: { '{{provider}} {{code}}': sum(attempts('outcome="error"'), 'provider', 'code') },
      }),
      lines({
        title: 'Attempts by outcome',
        description:
          '`aborted` is what nobody waited for any more: the client had left, or another part of the request had failed.',
        unit: 'reqps',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: { '{{provider}} {{outcome}}': sum(attempts(), 'provider', 'outcome') },
      }),
      lines({
        title: 'Fallbacks',
        description:
          'Requests that went on to another target after one had failed, by model and the two of them. Clients have noticed nothing but the wait.',
        unit: 'reqps',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: {
          '{{model}}: {{from}} to {{to}}, {{reason}}': sum(
            rate(ofModel('signalbox_fallbacks_total')),
            'model',
            'from',
            'to',
            'reason',
          ),
        },
      }),
      lines({
        title: 'Truncations',
        description: 'Answers that a provider broke off after their first piece: clients have seen half of them.',
        unit: 'reqps',
        limits: { above: [0.01, 0.1] },
        next: 'overview',
        queries: {
          '{{provider}} {{code}}': sum(rate(ofModel('signalbox_upstream_truncations_total')), 'provider', 'code'),
        },
      }),
      lines({
        title: 'Ends of streams',
        description:
          'Why event streams to clients ended, of all models: `ok`, `client_closed`, or the code of an error.',
        unit: 'reqps',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: { '{{reason}}': sum(rate(series('signalbox_stream_ends_total')), 'reason') },
      }),
    ],
    Resilience: [
      lines({
        title: 'Retries',
        description: 'Times that a provider was asked again, by the code of the failure before.',
        unit: 'reqps',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: {
          '{{provider}} {{reason}}': sum(rate(ofModel('signalbox_retries_total')), 'provider', 'reason'),
        },
      }),
      lines({
        title: 'Retries that were not made',
        description: 'The budget of retries was spent: too much has failed to ask again each time.',
        unit: 'reqps',
        limits: { above: [0.01, 1] },
        next: 'overview',
        queries: { '{{provider}}': sum(rate(ofModel('signalbox_retries_denied_total')), 'provider') },
      }),
      lines({
        title: 'Breakers',
        description:
          'Of each target the highest of all gateways, of all models: 0 closed, 1 half-open (one request tries), 2 open (nothing is sent there).',
        unit: 'none',
        limits: { above: [1, 2] },
        next: 'overview',
        queries: { '{{target}}': max(series('signalbox_breaker_state'), 'target') },
      }),
      lines({
        title: 'Changes of breakers',
        description: 'How often breakers opened, let a request try, and closed again, of all models.',
        unit: 'ops',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: {
          '{{target}} {{state}}': sum(rate(series('signalbox_breaker_transitions_total')), 'target', 'state'),
        },
      }),
    ],
    Latency: [
      heatmap({
        title: 'Duration of attempts',
        description:
          'How long providers took for answers, the failed ones left out. Two bands are two kinds of answers, or a slow replica at the provider.',
        unit: 's',
        cells: 'reqps',
        limits: 'none',
        next: 'overview',
        width: 12,
        exemplars: true,
        queries: { '{{le}}': sum(rate(answered), 'le') },
      }),
      heatmap({
        title: 'Time to first token',
        description: 'How long clients waited for the first piece of a streamed answer.',
        unit: 's',
        cells: 'reqps',
        limits: 'none',
        next: 'overview',
        width: 12,
        exemplars: true,
        queries: { '{{le}}': sum(rate(firstToken), 'le') },
      }),
      lines({
        title: 'Duration of attempts, p95',
        description: 'By provider and model, the failed ones left out.',
        unit: 's',
        limits: { above: [30, 60] },
        next: 'overview',
        exemplars: true,
        queries: {
          [`{{gen_ai_provider_name}} {{${model}}}`]: quantile(0.95, answered, 'gen_ai_provider_name', model),
        },
      }),
      lines({
        title: 'Time to first token, p95',
        description: 'By model, as clients see it.',
        unit: 's',
        limits: { above: [2.5, 10] },
        next: 'overview',
        exemplars: true,
        queries: { [`{{${model}}}`]: quantile(0.95, firstToken, model) },
      }),
      lines({
        title: 'Time per output token',
        description: 'Mean of the time between two tokens of a stream, by model. People read at about 0.2 s for each.',
        unit: 's',
        limits: { above: [0.1, 0.25] },
        next: 'overview',
        queries: { [`{{${model}}}`]: mean(perToken, ofModel, model) },
      }),
    ],
    Tokens: [
      lines({
        title: 'Output tokens',
        description: 'Tokens of answers per second, by model.',
        unit: 'cps',
        limits: 'none',
        next: 'cost',
        stacked: true,
        width: 12,
        queries: {
          [`{{${model}}}`]: sum(rate(ofModel('gen_ai_client_token_usage_sum', 'gen_ai_token_type="output"')), model),
        },
      }),
      lines({
        title: 'Tokens per second of a stream',
        description: 'How fast one stream is after its first token: the inverse of the mean time per token.',
        unit: 'cps',
        limits: { below: [10, 4] },
        next: 'cost',
        width: 12,
        queries: { [`{{${model}}}`]: `1 / (${mean(perToken, ofModel, model)})` },
      }),
    ],
    Cache: [
      lines({
        title: 'Requests by what the cache had',
        description:
          'Of models with a cache. `shared` waited for the answer to another who asked the same a moment before; `bypass` was not to be answered from a cache, `error` is a store that did not answer.',
        unit: 'reqps',
        limits: 'none',
        next: 'cost',
        stacked: true,
        width: 12,
        queries: { '{{outcome}}': sum(rate(cacheRequests()), 'outcome') },
      }),
      lines({
        title: 'Answers that cost nothing',
        description: 'Share of the requests to models with a cache for which no provider was asked, by model.',
        unit: 'percentunit',
        limits: 'none',
        next: 'cost',
        width: 12,
        queries: {
          '{{model}}': share(
            sum(rate(cacheRequests('outcome=~"hit|shared"')), 'model'),
            sum(rate(cacheRequests()), 'model'),
          ),
        },
      }),
    ],
    Agents: [
      lines({
        title: 'Calls of tools',
        description: 'Tools that ran in the gateway, of all agents. `_other` is a tool that a model made up.',
        unit: 'ops',
        limits: 'none',
        next: 'runtime',
        stacked: true,
        queries: { '{{tool}} {{outcome}}': sum(rate(series('signalbox_tool_calls_total')), 'tool', 'outcome') },
      }),
      lines({
        title: 'Stops by guardrails',
        description:
          'Turns that a guardrail stopped, and what it looked at: the input, the output, or the arguments of a tool.',
        unit: 'ops',
        limits: 'none',
        next: 'cost',
        stacked: true,
        queries: {
          '{{guardrail}} {{stage}}': sum(rate(series('signalbox_guardrail_stops_total')), 'guardrail', 'stage'),
        },
      }),
      lines({
        title: 'Warnings',
        description:
          'Requests that were not served quite as asked: a parameter that the provider does not know, a conversation that was not saved. The log says which.',
        unit: 'ops',
        limits: 'none',
        next: 'runtime',
        stacked: true,
        queries: { '{{model}}': sum(rate(ofModel('signalbox_warnings_total')), 'model') },
      }),
    ],
  },
})
