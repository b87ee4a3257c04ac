import type { Json, Kind } from './kinds.ts'

const rootOf = (apiVersion: string): string => (apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`)

/** A description (OpenAPI 2, as protobuf) of no kind at all: what the server does not know, Helm does not validate either. */
export const noSchemas = Buffer.from('\n\x032.0')

/** What the API says of itself at a path; undefined when that is not what is asked. */
export function describe(path: string, kinds: readonly Kind[]): Json | undefined {
  if (path === '/version') return { major: '1', minor: '35', gitVersion: 'v1.35.0' }
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'] }
  const versions = [...new Set(kinds.map(({ apiVersion }) => apiVersion))]
  if (path === '/apis') return { kind: 'APIGroupList', apiVersion: 'v1', groups: versions.flatMap(groupOf) }
  if (path === '/openapi/v3') {
    const paths = versions.map(rootOf).map((root) => [root.slice(1), { serverRelativeURL: `${path}${root}` }])
    return { paths: Object.fromEntries(paths) }
  }
  const isOf = (root: string) => (version: string) => path === `${root}${rootOf(version)}`
  const described = versions.find(isOf('/openapi/v3'))
  if (described) return openAPIOf(kinds.filter(({ apiVersion }) => apiVersion === described))
  const listed = versions.find(isOf(''))
  return listed ? resourcesOf(listed, kinds) : undefined
}

function groupOf(groupVersion: string): Json[] {
  const [name, version] = groupVersion.split('/')
  if (!version) return []
  return [{ name, versions: [{ groupVersion, version }], preferredVersion: { groupVersion, version } }]
}

function resourcesOf(groupVersion: string, kinds: readonly Kind[]): Json {
  const resources = kinds
    .filter(({ apiVersion }) => apiVersion === groupVersion)
    .map(({ kind, plural, namespaced }) => ({
      name: plural,
      singularName: kind.toLowerCase(),
      namespaced,
      kind,
      verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
    }))
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources }
}

/** Of OpenAPI 3 only what Helm looks for before it leaves the validation of fields to the server. */
function openAPIOf(kinds: readonly Kind[]): Json {
  const paths = kinds.map(({ apiVersion, kind, plural }) => {
    const [version, group = ''] = apiVersion.split('/').reverse()
    const patch = {
      parameters: [{ name: 'fieldValidation', in: 'query', schema: { type: 'string' } }],
      responses: {},
      'x-kubernetes-group-version-kind': { group, version, kind },
    }
    return [`/${plural}/{name}`, { patch }]
  })
  return { openapi: '3.0.0', info: { title: 'Kubernetes', version: 'v1.35.0' }, paths: Object.fromEntries(paths) }
}
