/**
 * To be imported before what takes time to load. Until the gateway can drain, SIGTERM and SIGINT end it at once: as process 1 of a
 * container it has no other default than to ignore them, and would be killed when its grace period is over.
 */
const signals = ['SIGTERM', 'SIGINT'] as const
const stop = (): never => process.exit(0)

for (const signal of signals) process.once(signal, stop)

/** From now on somebody else sees to them. */
export function started(): void {
  for (const signal of signals) process.off(signal, stop)
}
