import type { Choice } from './choice.ts'

/** Draws by weight. */
export const drawn: Choice = (candidates) => {
  const [first, ...others] = candidates
  if (others.length === 0) return first
  let point = Math.random() * candidates.reduce((sum, { weight }) => sum + weight, 0)
  for (const candidate of candidates) {
    point -= candidate.weight
    if (point < 0) return candidate
  }
  return first
}
