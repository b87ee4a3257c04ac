import type { LanguageModelV4FunctionTool, LanguageModelV4ToolChoice } from '@ai-sdk/provider'
import type { ChatRequest } from '../types.ts'

/** The functions among the tools: no other tool is the same at two providers. */
export const toTools = (tools: ChatRequest['tools'] | null): LanguageModelV4FunctionTool[] =>
  (tools ?? []).flatMap((tool): LanguageModelV4FunctionTool[] => {
    if (tool.type !== 'function') return []
    const { name, description, parameters, strict } = tool.function
    return [
      {
        type: 'function',
        name,
        // OpenAI takes `{}` for a tool without arguments; others insist on the type.
        inputSchema: parameters?.type ? parameters : { type: 'object', properties: {}, ...parameters },
        ...(description === undefined ? {} : { description }),
        ...(typeof strict === 'boolean' ? { strict } : {}),
      },
    ]
  })

/** Undefined for a choice that only OpenAI knows. */
export function toToolChoice(choice: ChatRequest['tool_choice']): LanguageModelV4ToolChoice | undefined {
  if (choice === 'auto' || choice === 'none' || choice === 'required') return { type: choice }
  if (choice?.type === 'function') return { type: 'tool', toolName: choice.function.name }
  return undefined
}
