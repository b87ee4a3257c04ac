import { modelsAndProviders } from './models-and-providers.ts'
import { overview } from './overview.ts'
import { runtimeAndStore } from './runtime-and-store.ts'
import { tenantsAndCost } from './tenants-and-cost.ts'

/** Grafana's dashboards of the gateway. */
export const dashboards = [overview, modelsAndProviders, tenantsAndCost, runtimeAndStore]

/** Where the JSON of each is, seen from here, and what it is. */
export const jsonFiles = new Map(
  dashboards.map((dashboard) => [`json/${dashboard.uid}.json`, `${JSON.stringify(dashboard, null, 2)}\n`]),
)
