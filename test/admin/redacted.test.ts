import t from 'tap'
import { redactedConfig } from '../../src/admin/redacted.ts'

t.test('what is secret is left out, and nothing else', async (t) => {
  const config = {
    server: { timeouts: { headers: '15s' }, host: undefined },
    auth: { keys: [{ key: 'S1', user: 'ann' }, { sha256: 'S2' }] },
    admin: { keys: [{ name: 'ops', key: 'S3' }] },
    providers: { lab: { apiKey: 'S4', headers: { 'x-key': 'S5' }, baseURL: 'https://lab.example/v1?key=S6' } },
    store: {
      url: 'redis://ann:S7@one:1/0',
      password: 'S8',
      sentinelPassword: 'S9',
      tls: { ca: 'S10', cert: 'S11', key: 'S12', servername: 'one' },
      keyPrefix: 'signalbox:',
    },
    models: { key: { targets: [{ model: 'lab/key' }] } },
  }
  const shown = redactedConfig(config)
  t.notMatch(JSON.stringify(shown), /S\d/)
  t.strictSame(shown, {
    server: { timeouts: { headers: '15s' } },
    auth: { keys: [{ key: '[redacted]', user: 'ann' }, { sha256: '[redacted]' }] },
    admin: { keys: [{ name: 'ops', key: '[redacted]' }] },
    providers: {
      lab: {
        apiKey: '[redacted]',
        headers: { 'x-key': '[redacted]' },
        baseURL: 'https://lab.example/v1?[redacted]',
      },
    },
    store: {
      url: 'redis://[redacted]@one:1/0',
      password: '[redacted]',
      sentinelPassword: '[redacted]',
      tls: { ca: '[redacted]', cert: '[redacted]', key: '[redacted]', servername: 'one' },
      keyPrefix: 'signalbox:',
    },
    models: { key: { targets: [{ model: 'lab/key' }] } },
  })
})
