/** What OpenTelemetry calls the providers that it knows by another name than we do. */
const conventional: Readonly<Record<string, string>> = {
  azure: 'azure.ai.openai',
  bedrock: 'aws.bedrock',
  google: 'gcp.gemini',
  mistral: 'mistral_ai',
  vertex: 'gcp.vertex_ai',
  xai: 'x_ai',
}

/**
 * A provider's name for `gen_ai.provider.name`.
 *
 * @param kinds What providers with names of their own are.
 */
export function providerName(provider: string, kinds: Readonly<Record<string, string>>): string {
  const kind = (Object.hasOwn(kinds, provider) && kinds[provider]) || provider
  // What only speaks OpenAI's format is better known by the name that it was given.
  if (kind === 'openai-compatible') return provider
  return (Object.hasOwn(conventional, kind) && conventional[kind]) || kind
}
