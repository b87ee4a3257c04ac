/** What was used in some time. */
export interface UsageCount {
  /** That a model answered, whole or in part. */
  requests: number
  /** Of prompts and answers. */
  tokens: number
  /** As far as it is known. */
  usd: number
  /** Requests whose cost is not known. */
  unpriced: number
}

/** What a key has used. Days and months are those of UTC. */
export interface KeyUsage {
  /** `2026-01-31` */
  date: string
  today: UsageCount
  thisMonth: UsageCount
}

/** Who counts what keys use. */
export interface UsageSource {
  /** @throws GatewayError `store_unavailable` */
  usageOf(keyId: string): Promise<KeyUsage>
}
