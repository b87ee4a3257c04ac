import fastifyCors from '@fastify/cors'
import fp from 'fastify-plugin'

/** What browsers may read of an answer, beside its body, where that has to be listed. */
const exposedHeaders = [
  'x-request-id',
  'openai-processing-ms',
  'retry-after',
  'x-should-retry',
  'x-conversation-id',
  'x-signalbox-attempts',
  'x-signalbox-cache',
  'x-signalbox-resume',
  'x-signalbox-target',
  'x-signalbox-warning',
  ...['limit', 'remaining', 'reset'].flatMap((what) => ['requests', 'tokens'].map((of) => `x-ratelimit-${what}-${of}`)),
]

export interface CorsOptions {
  /** Origins that browsers may call from; `*` for all. Default all. */
  origins?: readonly string[]
  /** Let browsers send cookies. Default false. */
  credentials?: boolean
}

/** Answers every OPTIONS request with 204, before anything asks for a key, and marks the other answers. */
export const cors = fp<CorsOptions>(
  async (app, { origins = ['*'], credentials = false }) => {
    await app.register(fastifyCors, {
      origin: origins.includes('*') ? '*' : [...origins],
      credentials,
      methods: ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'],
      // With cookies a browser takes the star for a name.
      exposedHeaders: credentials ? exposedHeaders : '*',
      maxAge: 86_400,
      // An OPTIONS without Origin is not a preflight, but it is not an error either.
      strictPreflight: false,
    })
  },
  { name: 'signalbox-cors' },
)
