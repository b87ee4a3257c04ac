import { readByChart } from './config-values.ts'
import { type DocumentedValue, documentedValues } from './values-comments.ts'

/** The top-level keys of the values, as the README orders them. */
export const groups: Readonly<Record<string, readonly string[]>> = {
  'What it serves': ['environment', 'production', 'config', 'secrets', 'externalSecrets', 'extensions'],
  'Redis of its own': ['redis'],
  'Image and names': ['image', 'nameOverride', 'fullnameOverride', 'commonLabels', 'commonAnnotations'],
  'How it is reached': ['service', 'ports', 'ingress', 'httpRoute', 'networkPolicy'],
  'How many there are': ['replicaCount', 'autoscaling', 'keda', 'podDisruptionBudget'],
  'What is seen of it': ['serviceMonitor', 'podMonitor', 'prometheusRule', 'dashboards'],
  'The pods': [
    'resources',
    'probes',
    'preStopSeconds',
    'strategy',
    'revisionHistoryLimit',
    'serviceAccount',
    'podSecurityContext',
    'securityContext',
    'topologySpreadConstraints',
    'affinity',
    'nodeSelector',
    'tolerations',
    'priorityClassName',
    'podLabels',
    'podAnnotations',
    'extraEnv',
    'extraEnvFrom',
    'extraVolumes',
    'extraVolumeMounts',
    'extraContainers',
    'initContainers',
  ],
  Tests: ['tests'],
}

const top = `# The chart of Signalbox

<!-- Written by \`npm run chart\` from values.yaml; change it there, or in readme.ts. -->

Signalbox is an LLM gateway: the OpenAI API on the front, any LLM behind it. This chart runs it on Kubernetes 1.30 or
newer, hardened as it comes: no root, no token, a read-only file system, and a network policy that denies what is not
listed.

\`\`\`sh
helm install signalbox ./helm --namespace llm --create-namespace --values helm/environments/dev.yaml
helm test signalbox --namespace llm
\`\`\`

| Environment | |
|---|---|
| [dev](environments/dev.yaml) | One pod, no secret, no Redis. Answers as \`demo/echo\` until a provider is configured. |
| [staging](environments/staging.yaml) | As production is, smaller, with a Redis of its own. |
| [prod](environments/prod.yaml) | Is not rendered before it has what it needs, and says what is missing. |

An environment is a values file like any other: yours comes after it, and wins.

\`\`\`sh
helm upgrade --install signalbox ./helm --namespace llm --values helm/environments/prod.yaml --values mine.yaml
\`\`\`

[From zero to production](PRODUCTION.md) goes through all of it: secrets, Redis, ingress, dashboards, sizing,
upgrades and rollbacks.

Values are checked before anything is rendered: an unknown key or a wrong type is an error that names it, in \`config\`,
too, whose keys are in [the gateway's README](../README.md#configuration). A variable of the environment, \`\${NAME}\` or
\`\${NAME:-fallback}\`, may stand for any number, boolean or text there, but for those of which the chart makes objects:
${[...readByChart].map((path) => `\`${path}\``).join(', ')}. Null leaves out what an earlier file has set.
`

/** The chart's README. */
export function chartReadme(): string {
  const own = documentedValues(new URL('values.yaml', import.meta.url))
  const redis = documentedValues(new URL('charts/redis/values.yaml', import.meta.url))
  const values = [...own, ...redis.map((value) => ({ ...value, path: ['redis', ...value.path] }))]
  const sections = Object.entries(groups).map(([title, keys]) =>
    section(
      title,
      keys.flatMap((key) => values.filter(({ path }) => path[0] === key)),
    ),
  )
  return [top, ...sections].join('\n')
}

function section(title: string, values: readonly DocumentedValue[]): string {
  const remarks = values
    .filter(({ remark }) => remark !== undefined)
    .map(({ path, remark }) => `\`${path.join('.')}\`: ${remark}\n`)
  const rows = values
    .filter(({ description }) => description !== undefined)
    .map(({ path, description = '', value }) => row(`\`${path.join('.')}\``, typeOf(value), shown(value), description))
  return [`## ${title}\n`, ...remarks, '| Key | Type | Default | |', '|---|---|---|---|', ...rows, ''].join('\n')
}

const row = (...cells: string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'list'
  // Of what is null by default, there is only one kind.
  return value === null ? 'number' : value instanceof Object ? 'map' : typeof value
}

const shown = (value: unknown): string => `\`${JSON.stringify(value)}\``
