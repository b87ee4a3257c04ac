import type { Config } from './schema.ts'

/** What providers with names of their own are, for those who know providers by their usual names. */
export const kindsOf = (providers: Config['providers']): Record<string, string> =>
  Object.fromEntries(Object.entries(providers).flatMap(([name, { kind }]) => (kind ? [[name, kind]] : [])))

/** `provider/model` of the targets that a configuration names. */
export const targetsOf = ({ models = {}, agents }: Pick<Config, 'models' | 'agents'>): string[] => [
  ...Object.values(models).flatMap(({ targets }) => targets.map(({ model }) => model)),
  ...Object.values(agents).map(({ model }) => model),
]

/** The providers that each registered model asks. */
export const providersOf = ({ models = {} }: Pick<Config, 'models'>): Record<string, string[]> =>
  Object.fromEntries(
    Object.entries(models).map(([model, { targets }]) => [
      model,
      [...new Set(targets.map(({ model: target }) => target.split('/', 1)[0] ?? target))],
    ]),
  )
