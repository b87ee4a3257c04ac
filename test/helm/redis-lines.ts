import { type Secrets, variablesOf } from './booted.ts'
import { containerOf, podsIn } from './pods.ts'
import { type Manifest, only } from './rendered.ts'

/** What the Redis of the chart is started with, as lines of `redis.conf`; where its files are, is this machine's affair. */
export function redisLines(manifests: readonly Manifest[], secrets: Secrets = {}): string[] {
  const [pod] = podsIn([only(manifests, 'StatefulSet')])
  if (!pod) throw new Error('the StatefulSet makes no pods')
  const { args = [], ...container } = containerOf(pod, 'redis')
  const variables = variablesOf(container, secrets)
  return args
    .map((arg) => arg.replace(/\$\((\w+)\)/g, (reference, name: string) => variables[name] ?? reference))
    .map((arg) => (arg.startsWith('--') ? `\n${arg.slice(2)}` : ` ${arg || '""'}`))
    .join('')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('dir '))
}
