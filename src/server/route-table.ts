import type { Endpoint } from './context.ts'
import { GatewayError } from './errors.ts'

type Method = 'GET' | 'POST' | 'DELETE'
/** `{id}` takes anything, slashes included: model ids contain them. What stands after it narrows that down. `open` needs no key. */
type RouteRow = [method: Method, path: string, endpoint: Endpoint, access?: 'open']

export interface RouteMatch {
  /** The template, for logs and metrics; `_other` when nothing matched. */
  route: string
  /** Decoded, in the template's order. */
  parameters: readonly string[]
  open: boolean
  endpoint: Endpoint
}

interface Resource {
  route: string
  pattern: RegExp
  endpoints: Map<string, { endpoint: Endpoint; open: boolean }>
}

/** Method and path to endpoint. HEAD is answered by GET; no match is an endpoint too, one that throws. */
export class RouteTable {
  readonly #exact = new Map<string, Resource>()
  /** With parameters; the one that says most of the path itself first. */
  #templates: Resource[] = []

  constructor(rows: readonly RouteRow[]) {
    for (const [method, path, endpoint, access] of rows) {
      this.#resource(path).endpoints.set(method, { endpoint, open: access === 'open' })
    }
  }

  match(method: string, path: string): RouteMatch {
    const exact = this.#exact.get(path)
    const resource = exact ?? this.#templates.find(({ pattern }) => pattern.test(path))
    if (!resource) return { route: '_other', parameters: [], open: false, endpoint: notFound }
    const { route, pattern, endpoints } = resource
    const parameters = exact ? [] : (pattern.exec(path) ?? []).slice(1).map(decode)
    const found = endpoints.get(method === 'HEAD' ? 'GET' : method)
    if (!found) return { route, parameters, open: false, endpoint: methodNotAllowed([...endpoints.keys()]) }
    return { route, parameters, ...found }
  }

  #resource(path: string): Resource {
    const existing = this.#exact.get(path) ?? this.#templates.find(({ route }) => route === path)
    if (existing) return existing
    const literals = path.split(/\{\w+\}/)
    const pattern = new RegExp(`^${literals.map((text) => RegExp.escape(text)).join('(.+)')}$`, 's')
    const resource: Resource = { route: path, pattern, endpoints: new Map() }
    if (literals.length === 1) this.#exact.set(path, resource)
    else this.#templates = [...this.#templates, resource].sort((a, b) => literalLength(b) - literalLength(a))
    return resource
  }
}

const literalLength = ({ route }: Resource): number => route.replace(/\{\w+\}/g, '').length

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
