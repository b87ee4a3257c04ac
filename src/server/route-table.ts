import type { Endpoint } from './context.ts'
import { GatewayError } from './errors.ts'

type Method = 'GET' | 'POST' | 'DELETE'
/**
 * `{id}` at the end takes the rest of the path, slashes included: model ids contain them; what follows it narrows that down. `open`
 * needs no key.
 */
type RouteRow = [method: Method, path: string, endpoint: Endpoint, access?: 'open']

export interface RouteMatch {
  /** The template, for logs and metrics; `_other` when nothing matched. */
  route: string
  parameter: string
  open: boolean
  endpoint: Endpoint
}

interface Resource {
  route: string
  prefix: string
  /** What follows the parameter. */
  suffix: string
  endpoints: Map<string, { endpoint: Endpoint; open: boolean }>
}

/** Method and path to endpoint. HEAD is answered by GET; no match is an endpoint too, one that throws. */
export class RouteTable {
  readonly #exact = new Map<string, Resource>()
  /** With a parameter; the longest suffix first. */
  #prefixed: Resource[] = []

  constructor(rows: readonly RouteRow[]) {
    for (const [method, path, endpoint, access] of rows) {
      this.#resource(path).endpoints.set(method, { endpoint, open: access === 'open' })
    }
  }

  match(method: string, path: string): RouteMatch {
    const resource = this.#exact.get(path) ?? this.#prefixed.find((each) => fits(each, path))
    if (!resource) return { route: '_other', parameter: '', open: false, endpoint: notFound }
    const { route, prefix, suffix } = resource
    const parameter = prefix ? decode(path.slice(prefix.length, path.length - suffix.length)) : ''
    const found = resource.endpoints.get(method === 'HEAD' ? 'GET' : method)
    if (!found) return { route, parameter, open: false, endpoint: methodNotAllowed([...resource.endpoints.keys()]) }
    return { route, parameter, ...found }
  }

  #resource(path: string): Resource {
    const existing = this.#exact.get(path) ?? this.#prefixed.find(({ route }) => route === path)
    if (existing) return existing
    const [, prefix = '', suffix = ''] = /^(.*)\{\w+\}(.*)$/.exec(path) ?? []
    const resource: Resource = { route: path, prefix, suffix, endpoints: new Map() }
    if (!prefix) this.#exact.set(path, resource)
    else this.#prefixed = [...this.#prefixed, resource].sort((a, b) => b.suffix.length - a.suffix.length)
    return resource
  }
}

const fits = ({ prefix, suffix }: Resource, path: string): boolean =>
  path.startsWith(prefix) && path.endsWith(suffix) && path.length > prefix.length + suffix.length

const notFound: Endpoint = ({ request, path }) => {
  throw new GatewayError('not_found', `unknown request URL: ${request.method} ${path.slice(0, 200)}`)
}

const methodNotAllowed = (methods: string[]): Endpoint => {
  const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ')
  return ({ request }) => {
    throw new GatewayError('method_not_allowed', `${request.method} is not allowed here; use ${allow}`, {
      headers: { allow },
    })
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
