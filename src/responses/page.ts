import { invalid } from './refusals.ts'

/** As it stands in a URL. */
export interface PageQuery {
  /** From 1 to 100; 20 unless told. */
  limit?: string | number | null
  /** `asc` (oldest first) or `desc`. */
  order?: string | null
  /** The id of the last item of the page before. */
  after?: string | null
}

/** A list of the API. The ids are empty when the list is. */
export interface Page<Item> {
  object: 'list'
  data: Item[]
  first_id: string
  last_id: string
  has_more: boolean
}

/** What a query asks for. @throws GatewayError `invalid_request` whose `param` names what is wrong with it */
export function pageLimits(query: PageQuery, usual: 'asc' | 'desc'): { limit: number; order: 'asc' | 'desc' } {
  const limit = Number(query.limit ?? 20)
  if (query.limit === '' || !Number.isInteger(limit) || limit < 1 || limit > 100) {
    throw invalid('limit', "'limit' must be an integer between 1 and 100")
  }
  const order = query.order ?? usual
  if (order !== 'asc' && order !== 'desc') throw invalid('order', "'order' must be 'asc' or 'desc'")
  return { limit, order }
}

/** A list of the API, of what was found for it. */
export const listOf = <Item extends { id: string }>(data: Item[], has_more: boolean): Page<Item> => ({
  object: 'list',
  data,
  first_id: data[0]?.id ?? '',
  last_id: data.at(-1)?.id ?? '',
  has_more,
})

/**
 * A page of a list that is kept oldest first.
 *
 * @param usual The order unless the query tells one. Default newest first.
 * @throws GatewayError `invalid_request` whose `param` names what is wrong with the query
 */
export function page<Item extends { id: string }>(
  items: readonly Item[],
  query: PageQuery = {},
  usual: 'asc' | 'desc' = 'desc',
): Page<Item> {
  const { limit, order } = pageLimits(query, usual)
  const ordered = order === 'asc' ? items : items.toReversed()
  const last = query.after ? ordered.findIndex(({ id }) => id === query.after) : -1
  if (query.after && last < 0)
    throw invalid('after', `'after' names no item of this list: "${query.after.slice(0, 80)}"`)
  return listOf(ordered.slice(last + 1, last + 1 + limit), last + 1 + limit < ordered.length)
}
