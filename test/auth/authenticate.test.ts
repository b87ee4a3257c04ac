import t from 'tap'
import { authenticate, refuse } from '../../src/auth/authenticate.ts'
import { type AuthVerifyResult, GatewayError, HookBus, type HookEvents } from '../../src/index.ts'

const alice: AuthVerifyResult = { userId: 'alice', metadata: { plan: 'gold' } }

function listening() {
  const hooks = new HookBus()
  const failures: HookEvents['onAuthFail'][] = []
  hooks.on('onAuthFail', (failure) => failures.push(failure))
  return { hooks, failures }
}

t.test('passes on what verify finds, sync or async', async (t) => {
  const { hooks, failures } = listening()
  t.equal(await authenticate(() => alice, hooks, 'req_1'), alice)
  t.equal(await authenticate(async () => alice, hooks, 'req_1'), alice)
  t.strictSame(failures, [])
})

t.test('whatever verify throws is a 401 and an onAuthFail', async (t) => {
  const thrown = [new Error('token expired'), new TypeError('x is not a function'), 'just text', undefined, null]
  for (const reason of thrown) {
    for (const verify of [
      () => {
        throw reason
      },
      async () => {
        throw reason
      },
    ]) {
      const { hooks, failures } = listening()
      const error = await authenticate(verify, hooks, 'req_1').catch((error: unknown) => error)
      t.match(error, { kind: 'invalid_api_key', status: 401, headers: { 'www-authenticate': 'Bearer' } })
      t.strictSame(failures, [
        { requestId: 'req_1', reason: reason instanceof Error ? reason.message : String(reason) },
      ])
    }
  }
})

t.test("the plugin's own words reach the hook, not the client", async (t) => {
  const { hooks, failures } = listening()
  const error = refuse(new Error('user 42 is banned since Monday'), hooks, 'req_1')
  t.match(failures, [{ reason: 'user 42 is banned since Monday' }])
  t.notMatch(JSON.stringify(error.toBody()), 'banned')
  t.match(error.toBody(), { error: { type: 'authentication_error', code: 'invalid_api_key', param: null } })
})

t.test('a GatewayError stands: a store that is down is no wrong key', async (t) => {
  const { hooks, failures } = listening()
  const down = new GatewayError('upstream_unreachable', 'the user store is down', { retryAfter: 5 })
  for (const verify of [
    () => Promise.reject(down),
    () => {
      throw down
    },
  ]) {
    t.equal(await authenticate(verify, hooks, 'req_1').catch((error: unknown) => error), down)
  }
  t.strictSame(failures, [])
})
