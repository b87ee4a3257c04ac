import { fileURLToPath } from 'node:url'
import { environments, kubeVersions, type RenderOptions, valuesFor } from './rendered.ts'

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

export const everything = [file('everything.yaml')]
export const instead = [file('everything.yaml'), file('instead.yaml')]

const files: readonly (readonly [name: string, values: readonly string[]])[] = [
  ['as it comes', []],
  ...environments.map((environment) => [environment, valuesFor(environment)] as const),
  ['everything', everything],
  ['everything else', instead],
]

/** Every way in which the chart is rendered here, by name. */
export const cases: ReadonlyMap<string, RenderOptions> = new Map<string, RenderOptions>([
  ...files.flatMap(([name, values]) =>
    kubeVersions.map(
      (kubeVersion) => [`${name}, Kubernetes ${kubeVersion}`, { values, kubeVersion }] as [string, RenderOptions],
    ),
  ),
  [
    'an extension from an image',
    {
      values: instead,
      set: { extensions: { existingConfigMap: '', image: { reference: 'registry.example.com/our/extension:1' } } },
    },
  ],
  ['a long name', { values: everything, name: `a${'-long-name'.repeat(5)}` }],
])
