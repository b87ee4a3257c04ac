import { Type } from 'typebox'
import { LimitsConfig } from '../config/limits-schema.ts'

const strict = { additionalProperties: false }

const Time = (description: string) => Type.Integer({ minimum: 0, description: `${description} Unix seconds.` })
const OrNull = <Schema extends Parameters<typeof Type.Union>[0][number]>(schema: Schema) =>
  Type.Union([schema, Type.Null()])

const Name = Type.String({ minLength: 1, maxLength: 200, description: 'For people: what the key is for.' })
const User = Type.String({
  minLength: 1,
  maxLength: 256,
  description: 'Owner of everything that is created with it. Default: the id of the key.',
})
const Models = Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
  maxItems: 1000,
  description: 'Models it may use, `openai/*` too. Default: all.',
})
const ExpiresAt = Time('It works no longer from then on.')

export const KeyParams = Type.Object({ id: Type.String({ description: 'Of the key: `key_…`.' }) })

export const CreateKey = Type.Object(
  {
    name: Name,
    user: Type.Optional(User),
    models: Type.Optional(Models),
    limits: Type.Optional(LimitsConfig),
    expires_at: Type.Optional(ExpiresAt),
  },
  strict,
)

export const UpdateKey = Type.Object(
  {
    name: Type.Optional(Name),
    user: Type.Optional(User),
    models: Type.Optional(OrNull(Models)),
    limits: Type.Optional(OrNull(LimitsConfig)),
    expires_at: Type.Optional(OrNull(ExpiresAt)),
  },
  { ...strict, minProperties: 1, description: 'What is left out stays; null takes it away.' },
)

export const RotateKey = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 30 * 86_400,
        default: 3600,
        description: 'The old text of the key works for so long beside the new one; 0 to end it at once.',
      }),
    ),
  },
  strict,
)

const keyFields = {
  id: Type.String(),
  object: Type.Literal('key'),
  name: Name,
  user: User,
  models: OrNull(Models),
  limits: Type.Object(LimitsConfig.properties, {
    description: 'As in the configuration; what is left out is not limited.',
  }),
  state: Type.Union([Type.Literal('active'), Type.Literal('expired'), Type.Literal('revoked')]),
  secrets: Type.Array(
    Type.Object({
      prefix: Type.String({ description: 'The first letters of the key, to recognise it.' }),
      created_at: Time('When it was made.'),
      expires_at: OrNull(Time('It was rotated: the end of its overlap.')),
    }),
    { description: 'The texts that work as the key, the newest last: several while a rotation overlaps.' },
  ),
  created_at: Time('When it was made.'),
  updated_at: Time('When it was last changed.'),
  rotated_at: OrNull(Time('When it was last rotated.')),
  expires_at: OrNull(ExpiresAt),
  revoked_at: OrNull(Time('When it was revoked.')),
}

export const Key = Type.Object(keyFields)

export const KeyWithText = Type.Object({
  ...keyFields,
  key: Type.String({ description: 'What the client sends. It is shown this once, and kept nowhere.' }),
})

const listOf = (item: Parameters<typeof Type.Array>[0]) => ({ object: Type.Literal('list'), data: Type.Array(item) })

export const KeyList = Type.Object({
  ...listOf(Key),
  first_id: Type.String(),
  last_id: Type.String(),
  has_more: Type.Boolean(),
})

export const ListQuery = Type.Object(
  {
    limit: Type.Optional(Type.String({ pattern: '^\\d{1,3}$', description: 'From 1 to 100. Default 20.' })),
    order: Type.Optional(
      Type.String({ pattern: '^(asc|desc)$', description: 'asc (oldest first) or desc, the default.' }),
    ),
    after: Type.Optional(Type.String({ description: 'The id of the last key of the page before.' })),
  },
  strict,
)

const Counted = Type.Object({
  requests: Type.Integer({ description: 'Requests that a model answered, whole or in part.' }),
  tokens: Type.Integer({ description: 'Of prompts and answers.' }),
  usd: Type.Number({ description: 'What providers bill for them, as far as it is known.' }),
  unpriced: Type.Integer({ description: 'Requests whose cost is not known, and in no sum.' }),
})

export const Usage = Type.Object({
  object: Type.Literal('key.usage'),
  key_id: Type.String(),
  date: Type.String({ description: 'Today, in UTC.' }),
  today: Counted,
  this_month: Counted,
})

export const TargetParams = Type.Object({
  provider: Type.String({ description: 'Its name in the configuration.' }),
  model: Type.String({
    description: 'At the provider, with `/` as it is or as `%2F`; `*` for all of the provider.',
  }),
})

export const Target = Type.Object({
  id: Type.String({ description: '`provider/model`.' }),
  object: Type.Literal('target'),
  provider: Type.String(),
  model: Type.String(),
  drained: Type.Boolean({ description: 'It takes no new requests, because of itself or of its whole provider.' }),
  drained_at: OrNull(Time('When it was taken out.')),
  drained_by: OrNull(Type.String({ description: 'The name of the admin key.' })),
})

export const TargetList = Type.Object(listOf(Target))

export const ModelList = Type.Object(
  listOf(
    Type.Object({
      id: Type.String({ description: 'What requests name; with `*` at its end a pattern.' }),
      object: Type.Literal('model'),
      provider: Type.String({ description: '`mixed` where its targets are of several.' }),
      is_agent: Type.Boolean(),
      available: Type.Boolean({ description: 'False while no target takes requests.' }),
    }),
  ),
)

export const ConfigView = Type.Object({
  object: Type.Literal('config'),
  config: Type.Unknown({ description: 'As it is applied, defaults included, without secrets.' }),
})

/** OpenAI's error envelope. */
export const ErrorEnvelope = Type.Object({
  error: Type.Object({
    message: Type.String(),
    type: Type.String(),
    param: OrNull(Type.String()),
    code: OrNull(Type.String()),
  }),
})
