import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { stringify } from 'yaml'
import { decodeBody } from './kubernetes/body.ts'
import { describe, noSchemas } from './kubernetes/discovery.ts'
import { coreKinds, type Json, type Kind, type KubernetesObject, operatorKinds } from './kubernetes/kinds.ts'
import { apply, conflictsOf, duplicatesOf, mergePatch } from './kubernetes/merge.ts'
import { type Change, Objects } from './kubernetes/objects.ts'
import { isSelected, type Target } from './kubernetes/selection.ts'

/** The part of a test that ends what was started for it, and has a directory of its own. */
export interface Owner {
  teardown(close: () => Promise<void>): unknown
  testdir(): string
}

export interface FakeKubernetesOptions {
  /** Whether the operators' custom resource definitions are there. Default: true. */
  operators?: boolean
  /** Whether the pods of an object become ready. Default: all do. */
  runs?: (object: KubernetesObject) => boolean
}

export interface KubernetesRequest {
  method: string
  path: string
  query: Record<string, string>
  /** Empty where there is none. */
  contentType: string
  body: Json | undefined
  /** What was answered. */
  status: number
}

/** What a ConfigMap or a Secret may hold, and so the record of a release, with the chart in it. */
const maxDataBytes = 1_048_576

/** An answer that is not the object asked for. */
class Refusal extends Error {
  readonly status: number
  readonly reason: string
  constructor(status: number, reason: string, message: string) {
    super(message)
    this.status = status
    this.reason = reason
  }
}

const pathPattern =
  /^\/(?:api\/(?<core>v1)|apis\/(?<group>[^/]+\/[^/]+))(?:\/namespaces\/(?<namespace>[^/]+))?\/(?<plural>[^/]+)(?:\/(?<name>[^/]+))?$/

/**
 * A Kubernetes API that Helm can talk to, in memory: discovery, objects of every kind the chart has, server-side apply with
 * its conflicts, merge patches, label selectors, watches, and controllers for whom everything runs at once, or never. It is
 * no cluster: nothing is defaulted, validated, admitted or scheduled, and no rights are asked for. What it shows is what Helm
 * does, and in what order.
 */
export class FakeKubernetes {
  /** What Helm needs to find it, and to keep its caches apart from others'. */
  readonly env: { KUBECONFIG: string; KUBECACHEDIR: string }
  /** Of the test, with the files of `env`. */
  readonly directory: string
  /** All that was asked, in order. */
  readonly requests: KubernetesRequest[] = []
  readonly objects: Objects
  readonly #kinds: readonly Kind[]
  /** What each manager has applied last, by path. */
  readonly #applied = new Map<string, Json>()

  private constructor({ operators = true, runs = () => true }: FakeKubernetesOptions, directory: string) {
    this.directory = directory
    this.env = { KUBECONFIG: join(directory, 'kubeconfig'), KUBECACHEDIR: join(directory, 'cache') }
    this.objects = new Objects(runs)
    this.#kinds = operators ? [...coreKinds, ...operatorKinds] : coreKinds
  }

  static async start(t: Owner, options: FakeKubernetesOptions = {}): Promise<FakeKubernetes> {
    const directory = t.testdir()
    const fake = new FakeKubernetes(options, directory)
    const server = createServer((request, response) => fake.#serve(request, response)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    })
    const { port } = server.address() as AddressInfo
    const kubeconfig = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'fake', cluster: { server: `http://127.0.0.1:${port}` } }],
      users: [{ name: 'fake', user: {} }],
      contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'fake', namespace: 'default' } }],
      'current-context': 'fake',
    }
    writeFileSync(fake.env.KUBECONFIG, stringify(kubeconfig))
    return fake
  }

  /** The object of this kind and name. Throws when there is none. */
  get(kind: string, name: string, namespace: string): KubernetesObject {
    const found = this.objects
      .all()
      .find((one) => one.kind === kind && one.metadata.name === name && one.metadata.namespace === namespace)
    if (!found) throw new Error(`there is no ${kind} ${name} in ${namespace}`)
    return found
  }

  /** Changes an object as somebody else than Helm does, by a merge patch. */
  edit(kind: string, name: string, namespace: string, patch: Json): void {
    this.objects.put(mergePatch(this.get(kind, name, namespace), patch) as KubernetesObject)
  }

  /** What was applied so far, in order. */
  applied(): KubernetesObject[] {
    return this.requests
      .filter(({ method, contentType }) => method === 'PATCH' && contentType.includes('apply-patch'))
      .map(({ body }) => body as KubernetesObject)
  }

  /** What was asked for beside reading, as `PATCH /api/…`. */
  writes(): string[] {
    return this.requests.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://fake')
    const contentType = request.headers['content-type'] ?? ''
    const entry: KubernetesRequest = {
      method: request.method ?? '',
      path: pathname,
      query: Object.fromEntries(searchParams),
      contentType,
      body: undefined,
      status: 200,
    }
    this.requests.push(entry)
    if (pathname === '/openapi/v2') {
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(noSchemas)
      return
    }
    let answer: Json
    try {
      entry.body = decodeBody(await buffer(request), contentType)
      if (entry.query.watch === 'true' || entry.query.watch === '1') {
        this.#watch(entry, this.#target(pathname), response)
        return
      }
      answer = describe(pathname, this.#kinds) ?? this.#act(entry, this.#target(pathname))
      if (entry.method === 'POST') entry.status = 201
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal(500, 'InternalError', String(error))
      entry.status = refusal.status
      const { status: code, reason, message } = refusal
      answer = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }
    }
    response.writeHead(entry.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }

  #target(path: string): Target {
    const parts = pathPattern.exec(path)?.groups
    const kind = this.#kinds.find(
      ({ apiVersion, plural }) => apiVersion === (parts?.core ?? parts?.group) && plural === parts?.plural,
    )
    if (!kind) throw new Refusal(404, 'NotFound', 'the server could not find the requested resource')
    return { kind, namespace: parts?.namespace, name: parts?.name }
  }

  #act({ method, path, query, contentType, body }: KubernetesRequest, target: Target): Json {
    const { kind, namespace, name } = target
    if (name === undefined && method === 'GET') return this.#list(target, query)
    const named = name ?? (body as Partial<KubernetesObject> | undefined)?.metadata?.name ?? ''
    const live = this.objects.find(kind.apiVersion, kind.kind, namespace, named)
    const isDry = query.dryRun === 'All'
    /** Kubernetes knows where the object belongs from the path. */
    const keep = (object: unknown): KubernetesObject => {
      const { metadata, ...rest } = object as KubernetesObject
      const placed: KubernetesObject = {
        ...rest,
        apiVersion: kind.apiVersion,
        kind: kind.kind,
        metadata: { ...metadata, name: named, ...(namespace !== undefined && { namespace }) },
      }
      if (placed.data && JSON.stringify(placed.data).length > maxDataBytes) {
        throw new Refusal(422, 'Invalid', `data: Too long: may not be more than ${maxDataBytes} bytes`)
      }
      return isDry ? placed : this.objects.put(placed)
    }
    if (method === 'POST') {
      if (live) throw new Refusal(409, 'AlreadyExists', `${kind.plural} "${named}" already exists`)
      return keep(body)
    }
    if (method === 'PATCH' && contentType.includes('apply-patch')) {
      const duplicates = duplicatesOf(body)
      if (duplicates.length > 0) {
        throw new Refusal(
          500,
          'InternalError',
          `failed to create typed patch object: duplicates in ${duplicates.join(', ')}`,
        )
      }
      const owner = `${path} ${query.fieldManager}`
      const before = live && this.#applied.get(owner)
      const conflicts = live && query.force !== 'true' ? conflictsOf(live, before, body) : []
      if (conflicts.length > 0) {
        throw new Refusal(409, 'Conflict', `Apply failed with conflicts with another manager: ${conflicts.join(', ')}`)
      }
      const applied = apply(live ?? {}, before, body)
      if (!isDry && body) this.#applied.set(owner, body)
      return keep(applied)
    }
    if (!live) throw new Refusal(404, 'NotFound', `${kind.plural} "${named}" not found`)
    if (method === 'PUT') return keep(body)
    if (method === 'PATCH') {
      // Helm sends strategic merge patches only when it is told not to apply on the server.
      if (!contentType.includes('/merge-patch')) throw new Refusal(415, 'UnsupportedMediaType', contentType)
      return keep(mergePatch(live, body))
    }
    if (method === 'DELETE' && !isDry) this.objects.remove(live)
    return live
  }

  #list(target: Target, query: Record<string, string>): Json {
    return {
      kind: `${target.kind.kind}List`,
      apiVersion: target.kind.apiVersion,
      metadata: { resourceVersion: this.objects.version },
      items: this.objects.all().filter((object) => isSelected(object, target, query)),
    }
  }

  /** What there is, then what changes. Helm's client asks to be told where the first part ends. */
  #watch({ query }: KubernetesRequest, target: Target, response: ServerResponse): void {
    const send = (event: { type: string; object: Json }): unknown => response.write(`${JSON.stringify(event)}\n`)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    for (const object of this.objects.all().filter((one) => isSelected(one, target, query))) {
      if (Number(object.metadata.resourceVersion) > Number(query.resourceVersion ?? 0)) send({ type: 'ADDED', object })
    }
    if (query.sendInitialEvents === 'true') {
      const { apiVersion, kind } = target.kind
      const annotations = { 'k8s.io/initial-events-end': 'true' }
      const metadata = { resourceVersion: this.objects.version, annotations }
      send({ type: 'BOOKMARK', object: { apiVersion, kind, metadata } })
    }
    const onChange = (change: Change): void => {
      if (isSelected(change.object, target, query)) send({ ...change })
    }
    this.objects.changes.on('change', onChange)
    response.on('close', () => this.objects.changes.off('change', onChange))
  }
}
