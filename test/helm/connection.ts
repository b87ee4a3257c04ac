import { BlockList, isIPv6 } from 'node:net'
import type { Manifest } from './rendered.ts'

/** What a connection begins or ends at: a pod, which has all of it, or an address outside the cluster. */
export interface Peer {
  ip: string
  namespace?: string
  labels?: Record<string, string>
  /** Of its containers, by name. */
  ports?: Record<string, number>
}

export interface Connection {
  from: Peer
  to: Peer
  port: number
  protocol?: 'TCP' | 'UDP'
}

interface Selector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}

interface PolicyPeer {
  podSelector?: Selector
  namespaceSelector?: Selector
  ipBlock?: { cidr: string; except?: string[] }
}

interface Rule {
  ports?: { protocol?: string; port?: number | string; endPort?: number }[] | null
  from?: PolicyPeer[] | null
  to?: PolicyPeer[] | null
}

interface Spec {
  podSelector: Selector
  policyTypes: ('Ingress' | 'Egress')[]
  ingress?: Rule[] | null
  egress?: Rule[] | null
}

/**
 * Whether NetworkPolicies let a connection through, at both of its ends, as Kubernetes defines them: a pod that no policy of a direction selects
 * is open in it; for others, one rule of one policy has to match. The nodes' own traffic (probes) is outside of what policies decide.
 */
export function isAllowed(policies: readonly Manifest[], connection: Connection): boolean {
  const { from, to } = connection
  return (
    passes(policies, 'Egress', from, connection, (rule) => peersMatch(rule.to, to, from.namespace)) &&
    passes(policies, 'Ingress', to, connection, (rule) => peersMatch(rule.from, from, to.namespace))
  )
}

function passes(
  policies: readonly Manifest[],
  direction: 'Ingress' | 'Egress',
  end: Peer,
  connection: Connection,
  peerMatches: (rule: Rule) => boolean,
): boolean {
  const { namespace, labels } = end
  if (namespace === undefined) return true
  const specs = policies
    .filter(({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.namespace === namespace)
    .map(({ spec }) => spec as Spec)
    .filter(({ podSelector, policyTypes }) => policyTypes.includes(direction) && selects(podSelector, labels))
  const rules = specs.flatMap(({ ingress, egress }) => (direction === 'Ingress' ? ingress : egress) ?? [])
  return specs.length === 0 || rules.some((rule) => portMatches(rule, connection) && peerMatches(rule))
}

/** The names of ports are those of the pod that is called. */
const portMatches = ({ ports }: Rule, { to, port, protocol = 'TCP' }: Connection): boolean =>
  !ports?.length ||
  ports.some((each) => {
    if ((each.protocol ?? 'TCP') !== protocol) return false
    if (typeof each.port === 'string') return to.ports?.[each.port] === port
    return each.port === undefined || (port >= each.port && port <= (each.endPort ?? each.port))
  })

/** An empty list of peers is everybody. */
const peersMatch = (peers: PolicyPeer[] | null | undefined, peer: Peer, own: string | undefined): boolean =>
  !peers?.length || peers.some((each) => peerMatches(each, peer, own))

function peerMatches({ ipBlock, podSelector, namespaceSelector }: PolicyPeer, peer: Peer, own: string | undefined) {
  if (ipBlock) return within(ipBlock.cidr, peer.ip) && !ipBlock.except?.some((cidr) => within(cidr, peer.ip))
  if (peer.namespace === undefined) return false
  const isOfNamespace = namespaceSelector
    ? selects(namespaceSelector, { 'kubernetes.io/metadata.name': peer.namespace })
    : peer.namespace === own
  return isOfNamespace && (!podSelector || selects(podSelector, peer.labels))
}

/** Whether a selector of labels takes them. */
export function selects({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Record<string, string> = {}) {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key]
      switch (operator) {
        case 'In':
          return value !== undefined && values.includes(value)
        case 'NotIn':
          return value === undefined || !values.includes(value)
        case 'Exists':
          return value !== undefined
        case 'DoesNotExist':
          return value === undefined
        default:
          throw new Error(`no operator ${operator}`)
      }
    })
  )
}

function within(cidr: string, ip: string): boolean {
  const [network = '', bits] = cidr.split('/')
  const family = (address: string) => (isIPv6(address) ? 'ipv6' : 'ipv4')
  if (family(network) !== family(ip)) return false
  const list = new BlockList()
  list.addSubnet(network, Number(bits), family(network))
  return list.check(ip, family(ip))
}
