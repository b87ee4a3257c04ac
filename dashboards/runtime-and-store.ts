import { board } from './board.ts'
import { heatmap, lines, stat, uids } from './panels.ts'
import { max, min, ofGateway, quantile, rate, series, share, sum } from './promql.ts'

const node = (metric: string, ...matchers: string[]): string => ofGateway(series(metric, ...matchers))
const store = (...matchers: string[]): string => rate(series('signalbox_store_operations_total', ...matchers))
const storeTime = (...matchers: string[]): string =>
  series('signalbox_store_operation_duration_seconds_bucket', ...matchers)
const perInstance = '{{instance}}'

export const runtimeAndStore = board({
  uid: uids.runtime,
  title: 'Runtime and store',
  description:
    'The processes: whether they want traffic, how busy they are, and how the store answers them. Of all models.',
  rows: {
    Instances: [
      stat({
        title: 'Instances',
        description: 'Gateways that Prometheus has scraped.',
        unit: 'short',
        limits: { below: [2, 1] },
        next: 'overview',
        queries: { instances: `count(${series('signalbox_build_info')})` },
      }),
      stat({
        title: 'Ready',
        description: 'Share of the instances that want traffic.',
        unit: 'percentunit',
        limits: { below: [1, 0.5] },
        next: 'overview',
        queries: { ready: `avg(${series('signalbox_ready')})` },
      }),
      stat({
        title: 'Draining',
        description: 'Instances that are shutting down: they end what is open and take nothing new.',
        unit: 'short',
        limits: { above: [1, 10] },
        next: 'overview',
        queries: { draining: sum(series('signalbox_draining')) },
      }),
      stat({
        title: 'Store up',
        description: 'Share of the instances that reach Redis. Empty when the store is no server of its own.',
        unit: 'percentunit',
        limits: { below: [1, 0.5] },
        next: 'overview',
        queries: { up: `avg(${series('signalbox_store_up')})` },
      }),
      stat({
        title: 'Youngest process',
        description: 'Time since the last start. Short again and again means that processes die.',
        unit: 's',
        limits: { below: [600, 60] },
        next: 'overview',
        queries: { age: min(`time() - (${node('process_start_time_seconds')})`) },
      }),
      stat({
        title: 'Version',
        description: 'What is running; more than one while a new version is rolled out.',
        unit: 'short',
        limits: 'none',
        next: 'overview',
        showsName: true,
        queries: { '{{version}}, Node {{node}}': sum(series('signalbox_build_info'), 'version', 'node') },
      }),
    ],
    Load: [
      lines({
        title: 'In flight',
        description:
          'Requests that are not over. One instance far above the others is one that the load balancer likes, or that is stuck.',
        unit: 'short',
        limits: { above: [500, 2000] },
        next: 'overview',
        queries: { [perInstance]: series('signalbox_in_flight_requests') },
      }),
      lines({
        title: 'Open streams',
        description:
          'Event streams that are not over. What is left of them at the end of `server.drainTimeout` is broken off.',
        unit: 'short',
        limits: { above: [500, 2000] },
        next: 'overview',
        queries: { [perInstance]: series('signalbox_open_streams') },
      }),
      lines({
        title: 'Readiness and drain',
        description: 'Instances that want traffic, and those that are shutting down.',
        unit: 'short',
        limits: 'none',
        next: 'overview',
        queries: { ready: sum(series('signalbox_ready')), draining: sum(series('signalbox_draining')) },
      }),
    ],
    Configuration: [
      stat({
        title: 'Configurations in force',
        description: 'How many there are. More than one for long: a gateway waits for a restart, or could not reload.',
        unit: 'short',
        limits: { above: [2, 3] },
        next: 'overview',
        queries: { configurations: `count(${sum(series('signalbox_config_revision'), 'revision')})` },
      }),
      stat({
        title: 'Failed to reload',
        description: 'Gateways whose configuration was not valid when it was last read: the one before it is in force.',
        unit: 'short',
        limits: { above: [1, 10] },
        next: 'overview',
        queries: { gateways: sum(`1 - ${series('signalbox_config_last_reload_successful')}`) },
      }),
      stat({
        title: 'Wait for a restart',
        description:
          'Keys of the configuration that were changed and that only a restart puts in force, of the worst gateway.',
        unit: 'short',
        limits: { above: [1, 10] },
        next: 'overview',
        queries: { keys: max(series('signalbox_config_restart_required')) },
      }),
      stat({
        title: 'Last valid configuration',
        description: 'Time since one was last read, of the gateway that read one first.',
        unit: 's',
        limits: 'none',
        next: 'overview',
        queries: { age: max(`time() - ${series('signalbox_config_last_reload_success_timestamp_seconds')}`) },
      }),
      lines({
        title: 'Reloads',
        description: 'Times that the configuration was read again: since a file has changed, or by a signal.',
        unit: 'ops',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: { '{{outcome}}': sum(rate(series('signalbox_config_reloads_total')), 'outcome') },
      }),
    ],
    Process: [
      lines({
        title: 'Event loop lag',
        description: 'How late timers fire, of the worst instance. Everything that it streams waits as long.',
        unit: 's',
        limits: { above: [0.1, 0.5] },
        next: 'overview',
        queries: {
          p50: max(node('nodejs_eventloop_lag_p50_seconds')),
          p90: max(node('nodejs_eventloop_lag_p90_seconds')),
          p99: max(node('nodejs_eventloop_lag_p99_seconds')),
        },
      }),
      lines({
        title: 'CPU',
        description: 'Cores in use by each instance. One runs on one core for the most part: near 1 it is full.',
        unit: 'percentunit',
        limits: { above: [0.7, 0.9] },
        next: 'overview',
        queries: { [perInstance]: ofGateway(rate(series('process_cpu_seconds_total'))) },
      }),
      lines({
        title: 'Garbage collection',
        description: 'Share of the time that goes into it, by kind, of the worst instance.',
        unit: 'percentunit',
        limits: { above: [0.05, 0.2] },
        next: 'overview',
        queries: { '{{kind}}': max(ofGateway(rate(series('nodejs_gc_duration_seconds_sum'))), 'kind') },
      }),
      lines({
        title: 'Heap in use',
        description: 'What the heap holds, garbage included: it is a saw, and only its lower edge matters.',
        unit: 'bytes',
        limits: { above: [1 * 1024 ** 3, 2 * 1024 ** 3] },
        next: 'overview',
        queries: { [perInstance]: node('nodejs_heap_size_used_bytes') },
      }),
      lines({
        title: 'Memory',
        description: 'Resident memory: what the limit of a container is compared with.',
        unit: 'bytes',
        limits: { above: [1.5 * 1024 ** 3, 3 * 1024 ** 3] },
        next: 'overview',
        queries: { [perInstance]: node('process_resident_memory_bytes') },
      }),
      lines({
        title: 'File descriptors',
        description: 'Share of those that a process may have which are open: each connection is one.',
        unit: 'percentunit',
        limits: { above: [0.7, 0.9] },
        next: 'overview',
        queries: { [perInstance]: ofGateway(`${series('process_open_fds')} / ${series('process_max_fds')}`) },
      }),
    ],
    Store: [
      lines({
        title: 'Store operations',
        description: 'What the store was asked for: values, leases of conversations, events of streams, indexes.',
        unit: 'ops',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: { '{{part}} {{operation}}': sum(store(), 'part', 'operation') },
      }),
      lines({
        title: 'Store operations that failed',
        description:
          'Share of operations that failed, by part. A lease that was refused is no failure: another turn held it.',
        unit: 'percentunit',
        limits: { above: [0.001, 0.01] },
        next: 'overview',
        queries: { '{{part}}': share(sum(store('outcome="failed"'), 'part'), sum(store(), 'part')) },
      }),
      lines({
        title: 'Store latency, p95',
        description: 'Time that the store took, by part, without leases, whose time is the wait for another turn.',
        unit: 's',
        limits: { above: [0.025, 0.25] },
        next: 'overview',
        queries: { '{{part}}': quantile(0.95, storeTime('part!="leases"'), 'part') },
      }),
      heatmap({
        title: 'Store latency',
        description:
          'How long the store took, without leases. A second band is a slow replica, or a network that loses packets.',
        unit: 's',
        cells: 'ops',
        limits: 'none',
        next: 'overview',
        queries: { '{{le}}': sum(rate(storeTime('part!="leases"')), 'le') },
      }),
      lines({
        title: 'Wait for a lease',
        description:
          'How long a turn of a conversation waited for the one before it; at `conversations.lockTimeout` it is a 409.',
        unit: 's',
        limits: { above: [1, 5] },
        next: 'overview',
        queries: {
          'p95 {{operation}}': quantile(0.95, storeTime('part="leases"'), 'operation'),
        },
      }),
      lines({
        title: 'Conversations',
        description:
          'Conversations locked, loaded and saved. `locked`: another turn held it for too long; `failed`: the store, or a loader.',
        unit: 'ops',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: {
          '{{operation}} {{outcome}}': sum(
            rate(series('signalbox_conversation_operations_total')),
            'operation',
            'outcome',
          ),
        },
      }),
      lines({
        title: 'Calls of the admin API',
        description:
          'By what was asked and what came of it. `refused`: without an admin key. Empty unless `admin.enabled` is set.',
        unit: 'ops',
        limits: 'none',
        next: 'overview',
        width: 12,
        stacked: true,
        queries: {
          '{{action}} {{outcome}}': sum(rate(series('signalbox_admin_calls_total')), 'action', 'outcome'),
        },
      }),
      lines({
        title: 'Failed listeners',
        description:
          'Hooks of the host that threw, by event. No request is affected, but somebody does not hear of it.',
        unit: 'ops',
        limits: { above: [0.01, 1] },
        next: 'overview',
        width: 12,
        queries: { '{{event}}': sum(rate(series('signalbox_listener_errors_total')), 'event') },
      }),
    ],
  },
})
