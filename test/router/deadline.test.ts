import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { GatewayError, type LLMClient, plan } from '../../src/index.ts'
import { withDeadline } from '../../src/router/deadline.ts'
import { failureOf, fake, request } from './clients.ts'

/** Waits until it is aborted, and fails with the reason. */
const aborted = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }))

const hanging: LLMClient = {
  ...fake('hanging').client,
  complete: (_, call) => aborted(call?.signal),
  async *stream(request, call) {
    yield* fake('begins').client.stream(request, call)
    await aborted(call?.signal)
  },
}

t.test('whole answers and streams end with the time, wherever they are', async (t) => {
  const client = withDeadline(hanging, 100)
  t.match(await failureOf(client.complete(request)), { kind: 'deadline_exceeded', status: 504 })
  let pieces = 0
  t.match(
    await failureOf(async () => {
      for await (const _ of client.stream(request)) pieces++
    }),
    { kind: 'deadline_exceeded' },
  )
  t.ok(pieces > 0)
})

t.test('no other target is asked after it', async (t) => {
  const other = fake('other')
  const client = plan({ targets: [{ client: hanging }, { client: other.client, priority: 1 }], deadlineMs: 30 })
  t.match(await failureOf(client.complete(request)), { kind: 'deadline_exceeded' })
  t.equal(other.asked, 0)
})

t.test('all targets share it', async (t) => {
  const failing = ['a', 'b', 'c', 'd'].map(
    (name): LLMClient => ({
      ...fake(name).client,
      async complete(_, call) {
        await Promise.race([sleep(40), aborted(call?.signal)])
        throw new GatewayError('upstream_error', 'failed')
      },
    }),
  )
  const client = plan({ targets: failing.map((client) => ({ client })), deadlineMs: 60 })
  t.match(await failureOf(client.complete(request)), { kind: 'deadline_exceeded' })
})

t.test('what its caller says is still heard, and an answer in time is untouched', async (t) => {
  const controller = new AbortController()
  const client = withDeadline(hanging, 60_000)
  const left = client.complete(request, { signal: controller.signal })
  controller.abort(new Error('left'))
  t.match(await failureOf(left), { message: 'left' })
  const quick = withDeadline(fake('quick').client, 60_000)
  t.match(await quick.complete(request), { object: 'chat.completion' })
  for await (const _ of quick.stream(request)) break
  t.equal(quick.unavailableMs?.(), undefined)
})
