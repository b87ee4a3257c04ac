import { Gauge } from 'prom-client'
import { Counter } from './counter.ts'
import { Histogram } from './histogram.ts'

/** Boundaries of the GenAI conventions, in seconds. */
const operation = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const perToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
const firstToken = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
/** Theirs end at ten seconds; models that think take longer. */
const firstThought = [...firstToken, 15, 20, 30, 45, 60]
/** Theirs, in tokens. */
const tokens = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]

/** Ours, in seconds. */
const overhead = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]
const store = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Of a model, by the GenAI conventions. */
const model = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'] as const

/** They belong to no registry: who shows them puts them into one. */
const registers: [] = []

const counter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
  new Counter<Label>(name, help, labelNames)

const histogram = <Label extends string>(name: string, help: string, bounds: number[], ...labelNames: Label[]) =>
  new Histogram<Label>(name, help, bounds, labelNames)

const gauge = (name: string, help: string, read: () => number | Promise<number>) =>
  new Gauge({
    name,
    help,
    registers,
    async collect() {
      this.set(await read())
    },
  })

/** Every metric of the gateway's that is counted as it happens. The README's table says what each means. */
export function createInstruments() {
  return {
    operationDuration: histogram(
      'gen_ai_client_operation_duration_seconds',
      'Time that a provider took, for each time it was asked.',
      operation,
      ...model,
      'error_type',
    ),
    tokenUsage: histogram(
      'gen_ai_client_token_usage',
      'Tokens of a request, all steps of a run together; as estimated where no provider told.',
      tokens,
      ...model,
      'gen_ai_token_type',
    ),
    requestDuration: histogram(
      'gen_ai_server_request_duration_seconds',
      'Time from the arrival of a request to a model to its last byte.',
      operation,
      ...model,
      'error_type',
    ),
    timeToFirstToken: histogram(
      'gen_ai_server_time_to_first_token_seconds',
      'Time from the arrival of a request to the first piece of its streamed answer.',
      firstThought,
      ...model,
    ),
    timePerOutputToken: histogram(
      'gen_ai_server_time_per_output_token_seconds',
      'Time that a provider took for each token after the first, of streams that it finished.',
      perToken,
      ...model,
    ),
    requests: counter(
      'signalbox_http_requests_total',
      'Requests that are over.',
      'route',
      'method',
      'status',
      'outcome',
    ),
    errors: counter(
      'signalbox_errors_total',
      'Requests, and what was made after them, that ended in an error, by its code.',
      'code',
    ),
    overhead: histogram(
      'signalbox_overhead_seconds',
      'Time of a request to a model in which neither a provider was waited for nor a body that was still on its way.',
      overhead,
      'route',
      'agent',
    ),
    disconnects: counter('signalbox_client_disconnects_total', 'Clients that left before their answer ended.', 'phase'),
    streamEnds: counter('signalbox_stream_ends_total', 'Event streams that are over.', 'route', 'reason'),
    backgroundEnds: counter(
      'signalbox_background_ends_total',
      'Answers that were made after their requests were over.',
      'route',
      'outcome',
    ),
    authFailures: counter('signalbox_auth_failures_total', 'Requests that authentication refused.'),
    attempts: counter(
      'signalbox_upstream_attempts_total',
      'Times that a provider was asked.',
      'provider',
      'model',
      'target',
      'outcome',
      'code',
    ),
    fallbacks: counter(
      'signalbox_fallbacks_total',
      'Requests that went on to another target after one had failed.',
      'model',
      'from',
      'to',
      'reason',
    ),
    retries: counter(
      'signalbox_retries_total',
      'Times that a provider was asked again after a failure.',
      'provider',
      'model',
      'reason',
    ),
    retriesDenied: counter(
      'signalbox_retries_denied_total',
      'Retries that were not made, since there had been too many.',
      'provider',
      'model',
    ),
    breakerState: new Gauge({
      name: 'signalbox_breaker_state',
      help: 'Of the breaker of a target: 0 closed, 1 half-open, 2 open.',
      labelNames: ['target'],
      registers,
    }),
    breakerTransitions: counter(
      'signalbox_breaker_transitions_total',
      'Changes of the state of a breaker.',
      'target',
      'state',
    ),
    truncations: counter(
      'signalbox_upstream_truncations_total',
      'Answers that a provider broke off after their first piece.',
      'provider',
      'model',
      'code',
    ),
    completions: counter(
      'signalbox_completions_total',
      'Answers of models, whole or in part, by what is known of their tokens.',
      'provider',
      'model',
      'usage',
    ),
    cost: counter('signalbox_cost_usd_total', 'What providers bill, in USD.', 'provider', 'model'),
    costUnknown: counter('signalbox_cost_unknown_total', 'Answers whose cost is not known.', 'provider', 'model'),
    cacheRequests: counter(
      'signalbox_cache_requests_total',
      'Requests to models with a cache, by what it had for them.',
      'model',
      'outcome',
    ),
    toolCalls: counter('signalbox_tool_calls_total', 'Calls of tools that run in the gateway.', 'tool', 'outcome'),
    guardrailStops: counter('signalbox_guardrail_stops_total', 'Turns that a guardrail stopped.', 'guardrail', 'stage'),
    conversations: counter(
      'signalbox_conversation_operations_total',
      'Conversations locked, loaded and saved.',
      'operation',
      'outcome',
    ),
    storeOperations: counter(
      'signalbox_store_operations_total',
      'What the store was asked for.',
      'part',
      'operation',
      'outcome',
    ),
    storeDuration: histogram(
      'signalbox_store_operation_duration_seconds',
      'Time that the store took; of leases, with the wait for whoever held one.',
      store,
      'part',
      'operation',
    ),
    adminCalls: counter('signalbox_admin_calls_total', 'Calls of the admin API.', 'action', 'outcome'),
    rateLimited: counter(
      'signalbox_rate_limited_total',
      'Requests that were refused, since they would have passed a limit.',
      'limit',
      'scope',
    ),
    warnings: counter('signalbox_warnings_total', 'Requests that were not served quite as asked.', 'model'),
    overloadRefused: counter(
      'signalbox_overload_refused_total',
      'Requests that were refused because there was too much to do.',
      'reason',
    ),
    writeStalls: counter('signalbox_write_stalls_total', 'Clients that were dropped because they read nothing.'),
    listenerErrors: counter('signalbox_listener_errors_total', 'Hook listeners that failed.', 'event'),
  }
}

/** Requests at work and in the queue, and how many may be. */
export interface Admitted {
  readonly inFlight: number
  readonly queued: number
  readonly limits: { readonly maxInFlight: number }
}

/** What of the gateway is read when somebody asks. */
export interface Readings {
  inFlight(): number
  openStreams(): number
  /** What the process has taken on; absent where that has no bound. */
  admission?: Admitted | undefined
  draining(): boolean
  ready(): Promise<boolean>
  /** Absent where the store is no server of its own. */
  storeUp?(): Promise<boolean>
}

/** The metrics that are read as somebody asks for them. */
export function createGauges(readings: Readings, version: string) {
  const { inFlight, openStreams, admission, draining, ready, storeUp } = readings
  const build = new Gauge({
    name: 'signalbox_build_info',
    help: 'Always 1; what is running is in the labels.',
    labelNames: ['version', 'node'],
    registers,
  })
  build.set({ version, node: process.version }, 1)
  return [
    gauge('signalbox_in_flight_requests', 'Requests that are not over.', inFlight),
    gauge('signalbox_open_streams', 'Event streams that are not over.', openStreams),
    ...(admission
      ? [
          gauge('signalbox_queued_requests', 'Requests that wait for another one to end.', () => admission.queued),
          gauge(
            'signalbox_saturation_ratio',
            'Requests at work, as a share of `server.overload.maxInFlight`.',
            () => admission.inFlight / admission.limits.maxInFlight,
          ),
        ]
      : []),
    gauge('signalbox_draining', '1 while the gateway shuts down.', () => Number(draining())),
    gauge('signalbox_ready', '1 while the gateway wants traffic.', async () => Number(await ready())),
    ...(storeUp
      ? [gauge('signalbox_store_up', '1 while the store answers.', async () => Number(await storeUp()))]
      : []),
    build,
  ]
}
