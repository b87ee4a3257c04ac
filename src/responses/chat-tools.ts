import type {
  ChatCompletionNamedToolChoice,
  ChatCompletionNamedToolChoiceCustom,
} from 'openai/resources/chat/completions'
import type { ChatRequest } from '../types.ts'
import { invalid, unsupported } from './refusals.ts'
import type { ResponseRequest } from './response-types.ts'

type ChatTools = Pick<ChatRequest, 'tools' | 'tool_choice' | 'parallel_tool_calls'>
type ChatTool = NonNullable<ChatRequest['tools']>[number]
type Tool = NonNullable<ResponseRequest['tools']>[number]
type ToolChoice = NonNullable<ResponseRequest['tool_choice']>
type NamedChoice = ChatCompletionNamedToolChoice | ChatCompletionNamedToolChoiceCustom
type NamedTool = { type: string; name?: string | null }

/**
 * Tools and what goes with them. Without tools there is nothing to say: OpenAI refuses a `tool_choice` then, and an empty list.
 *
 * @throws GatewayError `unsupported` for tools that run at OpenAI
 */
export function toChatTools({ tools, tool_choice: choice, parallel_tool_calls: parallel }: ResponseRequest): ChatTools {
  if (!tools || tools.length === 0) {
    if (choice && choice !== 'auto' && choice !== 'none') {
      throw invalid('tool_choice', "'tool_choice' names a tool, and there are no 'tools'")
    }
    return {}
  }
  return {
    tools: tools.map((tool, index) => toChatTool(tool, `tools[${index}]`)),
    ...(choice ? { tool_choice: toChatChoice(choice) } : {}),
    ...(parallel == null ? {} : { parallel_tool_calls: parallel }),
  }
}

/** `strict` is left out where the client does: the schema was not written for it, and the upstream would refuse what is not. */
function toChatTool(tool: Tool, path: string): ChatTool {
  if (tool.type === 'function') {
    const { name, description, parameters, strict } = tool
    return {
      type: 'function',
      function: {
        name,
        ...(description == null ? {} : { description }),
        ...(parameters == null ? {} : { parameters }),
        ...(strict == null ? {} : { strict }),
      },
    }
  }
  if (tool.type === 'custom') {
    const { name, description, format } = tool
    return {
      type: 'custom',
      custom: {
        name,
        ...(description == null ? {} : { description }),
        ...(format == null ? {} : { format: toChatFormat(format) }),
      },
    }
  }
  throw hosted(tool.type, `${path}.type`)
}

function toChatFormat(format: NonNullable<Extract<Tool, { type: 'custom' }>['format']>) {
  if (format.type !== 'grammar') return format
  const { syntax, definition } = format
  return { type: 'grammar' as const, grammar: { syntax, definition } }
}

function toChatChoice(choice: ToolChoice): NonNullable<ChatRequest['tool_choice']> {
  if (typeof choice === 'string') return choice
  if (choice.type !== 'allowed_tools') return named(choice, 'tool_choice')
  const { mode, tools } = choice
  const allowed = (tools ?? []).map((tool, index) => ({ ...named(tool as NamedTool, `tool_choice.tools[${index}]`) }))
  return { type: 'allowed_tools', allowed_tools: { mode, tools: allowed } }
}

function named({ type, name }: NamedTool, path: string): NamedChoice {
  if (type !== 'function' && type !== 'custom') throw hosted(type, `${path}.type`)
  if (typeof name !== 'string') throw invalid(`${path}.name`, `missing required parameter: '${path}.name'`)
  return type === 'function' ? { type, function: { name } } : { type, custom: { name } }
}

const hosted = (type: string, path: string) =>
  unsupported(path, `tools of the type "${type}" are not supported by this model: only function and custom tools are`)
