/** An error of ioredis's carries the command with all of its arguments: texts of users, or the password. They are left out. */
export function withoutArguments<Thrown>(error: Thrown): Thrown | Error {
  if (!(error instanceof Error) || !('command' in error)) return error
  const bare = new Error(error.message)
  bare.name = error.name
  return bare
}
