import { invalid } from './refusals.ts'

/** As it stands in a URL. */
export interface PageQuery {
  /** From 1 to 100; 20 unless told. */
  limit?: string | number | null
  /** Newest first (`desc`) unless told. */
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

/**
 * A page of a list that is kept oldest first.
 *
 * @throws GatewayError `invalid_request` whose `param` names what is wrong with the query
 */
export function page<Item extends { id: string }>(items: readonly Item[], query: PageQuery = {}): Page<Item> {
  const limit = Number(query.limit ?? 20)
  if (query.limit === '' || !Number.isInteger(limit) || limit < 1 || limit > 100) {
    throw invalid('limit', "'limit' must be an integer between 1 and 100")
  }
  const order = query.order ?? 'desc'
  if (order !== 'asc' && order !== 'desc') throw invalid('order', "'order' must be 'asc' or 'desc'")
  const ordered = order === 'asc' ? items : items.toReversed()
  const last = query.after ? ordered.findIndex(({ id }) => id === query.after) : -1
  if (query.after && last < 0)
    throw invalid('after', `'after' names no item of this list: "${query.after.slice(0, 80)}"`)
  const data = ordered.slice(last + 1, last + 1 + limit)
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? '',
    last_id: data.at(-1)?.id ?? '',
    has_more: last + 1 + limit < ordered.length,
  }
}
