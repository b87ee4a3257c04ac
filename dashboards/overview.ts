import { board } from './board.ts'
import { lines, stat, uids } from './panels.ts'
import { ofGateway, ofModel, quantile, rate, series, share, sum } from './promql.ts'

/** Without what probes and Prometheus itself ask, and what browsers ask before they ask. */
const http = (...matchers: string[]): string =>
  series('signalbox_http_requests_total', 'route!~"/health|/ready|/metrics"', 'method!="OPTIONS"', ...matchers)
const requests = sum(rate(http()))
const failed = sum(`${rate(http('status="5xx"'))} or ${rate(http('outcome="stream_error"'))}`)
const tokens = rate(ofModel('gen_ai_client_token_usage_sum'))
const cost = rate(ofModel('signalbox_cost_usd_total'))
const duration = ofModel('gen_ai_server_request_duration_seconds_bucket', 'error_type=""')
const firstToken = ofModel('gen_ai_server_time_to_first_token_seconds_bucket')
const overhead = series('signalbox_overhead_seconds_bucket', 'agent="false"')

const quantiles = (buckets: string): Record<string, string> => ({
  p50: quantile(0.5, buckets),
  p95: quantile(0.95, buckets),
  p99: quantile(0.99, buckets),
})

export const overview = board({
  uid: uids.overview,
  title: 'Overview',
  description: 'Traffic, errors and latency of the gateway as its clients see them, what it costs, and how full it is.',
  rows: {
    Now: [
      stat({
        title: 'Requests',
        description: 'Requests that ended, per second, without probes and scrapes.',
        unit: 'reqps',
        limits: 'none',
        next: 'models',
        queries: { requests },
      }),
      stat({
        title: 'Failed',
        description: 'Share of requests that the gateway or a provider failed: status 5xx, or a stream that broke off.',
        unit: 'percentunit',
        limits: { above: [0.01, 0.05] },
        next: 'models',
        queries: { failed: share(failed, requests) },
      }),
      stat({
        title: 'First token, p95',
        description:
          'Time that 95 % of streams took at most from the arrival of the request to the first piece of its answer.',
        unit: 's',
        limits: { above: [2.5, 10] },
        next: 'models',
        queries: { p95: quantile(0.95, firstToken) },
      }),
      stat({
        title: 'Tokens',
        description: 'Tokens per second, of prompts and answers, counted when an answer is over.',
        unit: 'cps',
        limits: 'none',
        next: 'cost',
        queries: { tokens: sum(tokens) },
      }),
      stat({
        title: 'Cost per hour',
        description: 'What providers bill at the present rate, without what has no known price.',
        unit: 'currencyUSD',
        limits: { above: [50, 200] },
        next: 'cost',
        queries: { cost: `${sum(cost)} * 3600` },
      }),
      stat({
        title: 'In flight',
        description: 'Requests that are not over, of all instances.',
        unit: 'short',
        limits: { above: [500, 2000] },
        next: 'runtime',
        queries: { requests: sum(series('signalbox_in_flight_requests')) },
      }),
    ],
    'Traffic and errors': [
      lines({
        title: 'Requests by route',
        description:
          'Requests that ended. `_other` is every address that does not exist, and everyone without a valid key.',
        unit: 'reqps',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: { '{{route}}': sum(rate(http()), 'route') },
      }),
      lines({
        title: 'Requests by outcome',
        description:
          'How requests ended: `error` has an error as its answer, `stream_error` broke off after its head, `stream_refused` was a mistake of the client that showed only then, `client_closed` was left by its client.',
        unit: 'reqps',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: { '{{outcome}} {{status}}': sum(rate(http()), 'outcome', 'status') },
      }),
      lines({
        title: 'Made in the background',
        description:
          'Responses, and streams whose clients had left, that were made after their requests were over, by how that ended.',
        unit: 'reqps',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: { '{{outcome}}': sum(rate(series('signalbox_background_ends_total')), 'outcome') },
      }),
      lines({
        title: 'Failed requests',
        description: 'Share of requests with status 5xx or a stream that broke off.',
        unit: 'percentunit',
        limits: { above: [0.01, 0.05] },
        next: 'models',
        queries: { failed: share(failed, requests) },
      }),
      lines({
        title: 'Errors by code',
        description:
          'Requests that ended in an error, the mistakes of clients included. Codes that begin with `upstream_` are of providers.',
        unit: 'reqps',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: { '{{code}}': sum(rate(series('signalbox_errors_total')), 'code') },
      }),
      lines({
        title: 'Clients that left',
        description:
          'Clients that went away before they had an answer, or in the middle of a stream. More of the former means that they lose patience.',
        unit: 'reqps',
        limits: 'none',
        next: 'models',
        queries: { '{{phase}}': sum(rate(series('signalbox_client_disconnects_total')), 'phase') },
      }),
      lines({
        title: 'Refused keys',
        description:
          'Requests without a key, or with one that is not known. Many at once are a rotated key, or somebody who guesses.',
        unit: 'reqps',
        limits: { above: [1, 10] },
        next: 'cost',
        queries: { refused: sum(rate(series('signalbox_auth_failures_total'))) },
      }),
    ],
    Latency: [
      lines({
        title: 'Request duration',
        description:
          'From the arrival of a request to a model to the last byte of its answer, of those that succeeded.',
        unit: 's',
        limits: { above: [30, 60] },
        next: 'models',
        exemplars: true,
        queries: quantiles(duration),
      }),
      lines({
        title: 'Time to first token',
        description: 'From the arrival of a request to the first piece of its streamed answer.',
        unit: 's',
        limits: { above: [2.5, 10] },
        next: 'models',
        exemplars: true,
        queries: quantiles(firstToken),
      }),
      lines({
        title: 'Overhead of the gateway',
        description:
          'Time of a request in which neither a provider was waited for nor its own body, the wait for an earlier turn of its conversation included; agents, whose tools run here, are left out. Of all models.',
        unit: 's',
        limits: { above: [0.05, 0.25] },
        next: 'runtime',
        queries: quantiles(overhead),
      }),
    ],
    'Tokens and cost': [
      lines({
        title: 'Tokens',
        description: 'Tokens of prompts (input) and answers (output), counted when an answer is over.',
        unit: 'cps',
        limits: 'none',
        next: 'cost',
        stacked: true,
        width: 12,
        queries: { '{{gen_ai_token_type}}': sum(tokens, 'gen_ai_token_type') },
      }),
      lines({
        title: 'Cost per hour',
        description: 'What providers bill at the rate of the moment, without what has no known price.',
        unit: 'currencyUSD',
        limits: 'none',
        next: 'cost',
        stacked: true,
        width: 12,
        queries: { '{{model}}': `${sum(cost, 'model')} * 3600` },
      }),
    ],
    Saturation: [
      lines({
        title: 'In flight and open streams',
        description: 'Requests that are not over, and those of them that are streaming, of all instances.',
        unit: 'short',
        limits: 'none',
        next: 'runtime',
        queries: {
          'in flight': sum(series('signalbox_in_flight_requests')),
          streams: sum(series('signalbox_open_streams')),
        },
      }),
      lines({
        title: 'Taken on',
        description:
          'Requests at work, as a share of what an instance takes on (`server.overload.maxInFlight`). At 100 % requests wait, and then are refused.',
        unit: 'percentunit',
        limits: { above: [0.8, 0.95] },
        next: 'runtime',
        queries: { '{{instance}}': series('signalbox_saturation_ratio') },
      }),
      lines({
        title: 'Queued and refused',
        description:
          'Requests that wait for another one to end, and those refused per second because the queue was full or the wait too long.',
        unit: 'short',
        limits: { above: [1, 10] },
        next: 'runtime',
        queries: {
          queued: sum(series('signalbox_queued_requests')),
          'refused: {{reason}}': sum(rate(series('signalbox_overload_refused_total')), 'reason'),
        },
      }),
      lines({
        title: 'Clients that do not read',
        description: 'Clients per second that were dropped because they read nothing for `server.timeouts.write`.',
        unit: 'short',
        limits: 'none',
        next: 'runtime',
        queries: { dropped: sum(rate(series('signalbox_write_stalls_total'))) },
      }),
      lines({
        title: 'CPU',
        description: 'Cores in use by each instance. One runs on one core for the most part: near 1 it is full.',
        unit: 'percentunit',
        limits: { above: [0.7, 0.9] },
        next: 'runtime',
        queries: { '{{instance}}': ofGateway(rate(series('process_cpu_seconds_total'))) },
      }),
      lines({
        title: 'Event loop lag, p99',
        description: 'How late timers fire. Everything that an instance streams waits as long.',
        unit: 's',
        limits: { above: [0.1, 0.5] },
        next: 'runtime',
        queries: { '{{instance}}': ofGateway(series('nodejs_eventloop_lag_p99_seconds')) },
      }),
    ],
  },
})
