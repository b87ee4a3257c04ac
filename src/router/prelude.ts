import type { ChatCompletionChunk, ProviderEvent } from '../types.ts'

/** A chunk with a role and no word yet, as providers send it before they have thought of one. */
export const isRoleOnly = ({ choices, usage }: ChatCompletionChunk): boolean =>
  !usage &&
  (choices ?? []).every(
    ({ delta = {}, finish_reason: reason }) =>
      !reason && Object.entries(delta).every(([field, value]) => field === 'role' || value == null || value === ''),
  )

const preludes = new Set(['response.created', 'response.queued', 'response.in_progress'])

/** An event that says no more than that the provider has taken the request. */
export const isTaken = ({ type }: ProviderEvent): boolean => preludes.has(type)
