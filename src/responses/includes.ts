const knownIncludes = new Set([
  'code_interpreter_call.outputs',
  'computer_call_output.output.image_url',
  'file_search_call.results',
  'message.input_image.image_url',
  'message.output_text.logprobs',
  'reasoning.encrypted_content',
  'web_search_call.action.sources',
  'web_search_call.results',
])

/** A warning for each that no answer can hold. */
export const unknownIncludes = (names: readonly string[]): string[] =>
  names
    .filter((name) => !knownIncludes.has(name))
    .map((name) => `include "${name.slice(0, 80)}" is ignored: it is not known`)
