export const dayMs = 86_400_000

/** When the UTC day of a time began. */
export const dayOf = (now: number): number => now - (now % dayMs)

/** When the UTC month of a time began, or one so many months later. */
export function monthOf(now: number, later = 0): number {
  const date = new Date(now)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + later)
}

/** The beginnings of the month before, of this one and of the next two: among them are those of any clock that is not far off. */
export const monthsAround = (now: number): [number, number, number, number] => [
  monthOf(now, -1),
  monthOf(now),
  monthOf(now, 1),
  monthOf(now, 2),
]
