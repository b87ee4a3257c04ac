/** The pieces of a body as one; of a single one, that itself. */
export function joined<Piece extends Uint8Array>(pieces: readonly Piece[]): Piece | Buffer {
  const [only] = pieces
  return only && pieces.length === 1 ? only : Buffer.concat(pieces)
}
