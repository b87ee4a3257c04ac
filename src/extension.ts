import type { Guardrail } from './agent/guardrail.ts'
import type { AgentLoaderPlugin, ConversationLoaderPlugin } from './agent/loaders.ts'
import type { AgentTool } from './agent/tool.ts'
import type { AuthPlugin } from './auth/auth-plugin.ts'

/** What an extension module (`extensions:` in the configuration) may export, each by its name or all as the default. */
export interface Extension {
  /** For `agents.<name>.tools`, by name. */
  tools?: readonly AgentTool[]
  /** For `agents.<name>.guardrails`, by name. */
  guardrails?: readonly Guardrail[]
  agentLoader?: AgentLoaderPlugin
  /** Instead of the gateway's own store of conversations. */
  conversationLoader?: ConversationLoaderPlugin
  /** Instead of `auth.keys`. */
  auth?: AuthPlugin
}
