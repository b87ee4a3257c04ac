/** Where a member stands: by its number, and among those with the same one by its name. */
export interface Place {
  /** When it came into being, in milliseconds since 1970. */
  at: number
  member: string
}

export interface IndexPageOptions {
  /** Begins behind this place, whether its member is (still) there or not. Default: at the end that `order` begins with. */
  after?: Place | undefined
  /** Oldest first, or newest first. */
  order: 'asc' | 'desc'
  limit: number
}

/** Names of what is kept elsewhere, by key, in the order of their numbers: for what has to be listed. */
export interface SortedIndex {
  /**
   * Adds a member, once and for all at this place. Resolves when any replica's {@link page} has it. `ttlSeconds`: members that are
   * older than this go; the whole index does when nothing has been added for as long. Default: nothing goes.
   */
  add(key: string, place: Place, options?: { ttlSeconds?: number }): Promise<void>
  /** True when it was there. */
  remove(key: string, member: string): Promise<boolean>
  /** At most so many places; fewer only when there are no more. */
  page(key: string, options: IndexPageOptions): Promise<Place[]>
}
