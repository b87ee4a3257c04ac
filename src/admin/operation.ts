import { type Static, type TSchema, Type } from 'typebox'

/** One call of the admin API, as an operation sees it. */
export interface AdminCall<Params = unknown, Query = unknown, Body = unknown> {
  params: Params
  query: Query
  body: Body
  /** The name of the admin key. */
  admin: string
  /** Tells the audit what the call is about, and what it changes. */
  concerns(subject: string, changes?: readonly string[]): void
}

/** One operation of the admin API: what it takes and answers, for validation and for the OpenAPI document alike. */
export interface AdminOperation {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Below `/admin/v1`, parameters as `:name`. */
  path: string
  /** What the audit and the metrics call it. */
  action: string
  tag: 'keys' | 'targets' | 'gateway'
  summary: string
  description?: string
  params: TSchema
  query: TSchema
  body: TSchema | undefined
  /** Of the answer. */
  response: TSchema
  /** Default 200. */
  status?: number
  answer(call: AdminCall): Promise<unknown>
}

const Nothing = Type.Object({})

type Definition<Params extends TSchema, Query extends TSchema, Body extends TSchema> = Omit<
  AdminOperation,
  'params' | 'query' | 'body' | 'answer'
> & {
  params?: Params
  query?: Query
  body?: Body
  answer(call: AdminCall<Static<Params>, Static<Query>, Static<Body>>): Promise<unknown>
}

/** An operation whose answer knows the types of what its schemas let pass. */
export const operation = <
  Params extends TSchema = typeof Nothing,
  Query extends TSchema = typeof Nothing,
  Body extends TSchema = typeof Nothing,
>({
  params,
  query,
  body,
  answer,
  ...rest
}: Definition<Params, Query, Body>): AdminOperation => ({
  ...rest,
  params: params ?? Nothing,
  query: query ?? Nothing,
  body,
  answer: (call) => answer(call as AdminCall<Static<Params>, Static<Query>, Static<Body>>),
})
