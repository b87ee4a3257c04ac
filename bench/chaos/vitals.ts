import type { GatewayProcess } from '../../test/process.ts'

/** What shows a leak, as the gateway's own metrics tell it. */
export interface Vitals {
  inFlight: number
  openStreams: number
  fileDescriptors: number
  /** Timers, sockets and the like that keep Node's event loop alive. */
  resources: number
  heapMB: number
}

/** The sum of a metric's series; with `label`, of those that have it. */
export function sumOf(exposition: string, name: string, label = ''): number {
  const lines = exposition.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  return lines.filter((line) => line.includes(label)).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

export async function expositionOf({ url }: GatewayProcess): Promise<string> {
  const answer = await fetch(`${url}/metrics`)
  return answer.text()
}

export async function vitalsOf(gateway: GatewayProcess): Promise<Vitals> {
  const exposition = await expositionOf(gateway)
  return {
    inFlight: sumOf(exposition, 'signalbox_in_flight_requests'),
    openStreams: sumOf(exposition, 'signalbox_open_streams'),
    fileDescriptors: sumOf(exposition, 'process_open_fds'),
    resources: sumOf(exposition, 'nodejs_active_resources'),
    heapMB: Math.round(sumOf(exposition, 'nodejs_heap_size_used_bytes') / 1e5) / 10,
  }
}

/** The least of each third of the run: what a garbage collection leaves. A leak makes them rise. */
export function heapTrend(vitals: readonly Vitals[]): string {
  const third = Math.ceil(vitals.length / 3)
  const parts = [0, 1, 2].map((n) => vitals.slice(n * third, (n + 1) * third).map(({ heapMB }) => heapMB))
  return parts.map((part) => (part.length === 0 ? '?' : `${Math.min(...part)} MB`)).join(' -> ')
}
