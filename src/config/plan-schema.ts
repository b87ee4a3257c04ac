import { Type } from 'typebox'
import { Duration } from './duration.ts'
import { options } from './schema-parts.ts'

/** What a target of a model says beside its name and weight. */
export const targetFields = {
  priority: Type.Optional(
    Type.Integer({
      default: 0,
      description: 'Lower ones are asked first; the next are for when all of those have failed or take no requests.',
    }),
  ),
}

/** Why a request goes on to another target, as the operator may choose. */
const FallbackReason = Type.Union([
  Type.Literal('server_error'),
  Type.Literal('connection'),
  Type.Literal('timeout'),
  Type.Literal('first_token_timeout'),
  Type.Literal('rate_limit'),
  Type.Literal('context_length'),
  Type.Literal('auth'),
])

const FallbackConfig = Type.Object(
  {
    on: Type.Optional(
      Type.Array(FallbackReason, {
        uniqueItems: true,
        default: ['server_error', 'connection', 'timeout', 'first_token_timeout', 'rate_limit'],
        description:
          'After which failures of a target the next one is asked: server_error (5xx), connection (refused, reset), timeout, first_token_timeout, rate_limit (429), context_length (the prompt is too long for it), auth (it refuses the key of the gateway). `[]` for none.',
      }),
    ),
  },
  options,
)

/** How a model chooses among its targets. */
export const planFields = {
  choose: Type.Optional(
    Type.Union([Type.Literal('weighted'), Type.Literal('latency'), Type.Literal('least-busy')], {
      default: 'weighted',
      description:
        'Among targets of one priority: weighted (drawn), latency (the fastest to answer of late), or least-busy (the fewest open requests for its weight).',
    }),
  ),
  sticky: Type.Optional(
    Type.Union([Type.Literal('none'), Type.Literal('conversation'), Type.Literal('user')], {
      description:
        'What stays with one target, where the provider has its prompt cached: a conversation (or what shares a `prompt_cache_key`), a user, or none. Default: conversation when `choose` is weighted, else none.',
    }),
  ),
  fallback: Type.Optional(FallbackConfig),
  deadline: Type.Optional(
    Duration('A request may take this long in all, with every target that is asked for it. Default: any time.'),
  ),
}
