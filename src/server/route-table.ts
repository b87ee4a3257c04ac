import type { Endpoint } from './context.ts'
import { GatewayError } from './errors.ts'

type Method = 'GET' | 'POST' | 'DELETE'
/** `{id}` at the end takes the rest of the path, slashes included: model ids contain them. `open` needs no key. */
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
  prefix: string | undefined
  endpoints: Map<string, { endpoint: Endpoint; open: boolean }>
}

/** Method and path to endpoint. HEAD is answered by GET; no match is an endpoint too, one that throws. */
export class RouteTable {
  readonly #exact = new Map<string, Resource>()
  readonly #prefixed: Resource[] = []

  constructor(rows: readonly RouteRow[]) {
    for (const [method, path, endpoint, access] of rows) {
      this.#resource(path).endpoints.set(method, { endpoint, open: access === 'open' })
    }
  }

  match(method: string, path: string): RouteMatch {
    const resource = this.#exact.get(path) ?? this.#prefixed.find(({ prefix = '' }) => path.startsWith(prefix))
    if (!resource) return { route: '_other', parameter: '', open: false, endpoint: notFound }
    const parameter = resource.prefix ? decode(path.slice(resource.prefix.length)) : ''
    const { route } = resource
    const found = resource.endpoints.get(method === 'HEAD' ? 'GET' : method)
    if (!found) return { route, parameter, open: false, endpoint: methodNotAllowed([...resource.endpoints.keys()]) }
    return { route, parameter, ...found }
  }

  #resource(path: string): Resource {
    const existing = this.#exact.get(path) ?? this.#prefixed.find(({ route }) => route === path)
    if (existing) return existing
    const brace = path.indexOf('{')
    const resource: Resource = {
      route: path,
      prefix: brace === -1 ? undefined : path.slice(0, brace),
      endpoints: new Map(),
    }
    if (resource.prefix) this.#prefixed.push(resource)
    else this.#exact.set(path, resource)
    return resource
  }
}

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
